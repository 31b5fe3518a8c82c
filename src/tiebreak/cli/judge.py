"""The command that judges what was trained elsewhere."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiebreak.cli.app import app, check_forms, echo_json, make_console, show_findings, show_where
from tiebreak.cli.options import Json
from tiebreak.errors import EvidenceError

if TYPE_CHECKING:
    from tiebreak.actions.judge_files import OverAll

TABLE = "Columns of tables (guessed by their names; told in the output)"
WHAT = "What may be concluded"
NO_SETTINGS = ("files", "labels", "numbers", "images", "out", "markdown", "latex", "as_json")


def _column(what: str) -> Any:
    return typer.Option(metavar="COLUMN", help=what, rich_help_panel=TABLE)


@app.command(epilog="Example: [bold]tiebreak judge preds/*.csv --labels labels.csv[/bold]")
def judge(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="CSV, TSV, Parquet, JSON, JSON Lines, ARFF, NPZ, NPY, safetensors; or folders."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="The true labels, where the predictions' files do not hold them.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help='What file names say, e.g. "{model}_seed{seed}.csv"; also {fold} and {dataset}.'),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="The classes in the order of the probabilities: cat,dog,ship.")
    ] = None,
    model: Annotated[str | None, _column("The contender.")] = None,
    seed: Annotated[str | None, _column("The run of a contender.")] = None,
    example: Annotated[str | None, _column("The id of a test example.")] = None,
    label: Annotated[str | None, _column("The true class.")] = None,
    prediction: Annotated[str | None, _column("The predicted class.")] = None,
    correct: Annotated[str | None, _column("Right or wrong: 1 and 0, true and false.")] = None,
    score: Annotated[str | None, _column("Any number an example of which more is better.")] = None,
    groups: Annotated[str | None, _column("Examples that belong together: patients, films.")] = None,
    dataset: Annotated[str | None, _column("The data set: a verdict for each, one over all.")] = None,
    fold: Annotated[str | None, _column("The fold of a cross-validation.")] = None,
    repeat: Annotated[str | None, _column("The repeat of a cross-validation.")] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="Of the score less is better.", rich_help_panel=TABLE)
    ] = False,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="paired|unpaired",
            help="Paired: runs with one seed share split and order. Unpaired claims less.",
            rich_help_panel=WHAT,
        ),
    ] = "unpaired",
    checkpoints: Annotated[
        bool,
        typer.Option(
            "--checkpoints",
            help="With one run each: ask about these very checkpoints, not about other seeds.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    common: Annotated[
        bool,
        typer.Option("--common", help="Judge only the examples that all answered.", rich_help_panel=WHAT),
    ] = False,
    level: Annotated[float, typer.Option(help="Of the intervals.", rich_help_panel=WHAT)] = 0.95,
    equivalence: Annotated[
        float | None,
        typer.Option(
            help="A difference in accuracy that would not matter: 0.01 is one point.", rich_help_panel=WHAT
        ),
    ] = None,
    superiority: Annotated[
        float | None,
        typer.Option(
            help="Say whether the better one is better by at least so much: 0.01 is one point.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Compare all contenders with this one, not each with each.", rich_help_panel=WHAT),
    ] = None,
    numbers: Annotated[
        str | None,
        typer.Option(help='Instead of files, a paper\'s sentence: "resnet 93.1, vit 92.8, n=10000".'),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="A folder in which the examples' ids are paths of images.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for results, figures and page.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown on stdout.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX on stdout.")] = False,
    as_json: Json = False,
) -> None:
    """Judge predictions that were made elsewhere: which contender is better, by how much, and how sure.

    Give one file for each model and seed, or a table with a row for each answer, or arrays.
    """
    settings = {name: value for name, value in locals().items() if name not in NO_SETTINGS}
    check_forms(as_json, markdown, latex)
    if numbers is not None:
        _check_one_data_set(markdown or latex)
        _judge_numbers(numbers, level, as_json, bool(files))
        return
    from tiebreak.actions.judge_files import (
        OverAll,
        find_files,
        is_folder_of_results,
        judge_told,
        make_reading,
    )
    from tiebreak.results.foreign import results_of_files

    study = next((path for path in files or [] if is_folder_of_results(path)), None)
    if study is not None:
        raise EvidenceError(f"{study} has been judged; tiebreak report {study} shows it again.")
    reading = replace(make_reading(settings), labels=labels)
    judged = judge_told(results_of_files(find_files(files or []), reading), out)
    if isinstance(judged, OverAll):
        _check_one_data_set(markdown or latex)
        _show_all(judged, as_json)
        return
    from tiebreak.actions.judged_page import draw_judged

    show_findings(judged, as_json=as_json, markdown=markdown, latex=latex)
    with make_console(stderr=True).status("Drawing figures and writing the page"):
        drawn = draw_judged(judged, images)
    for note in drawn.notes[len(judged.notes) :]:
        typer.echo(f"Note: {note}", err=True)
    show_where(drawn, stderr=as_json or markdown or latex)


def _check_one_data_set(for_a_paper: bool) -> None:
    """Raises: EvidenceError if Markdown or LaTeX is asked for where there is none."""
    if for_a_paper:
        raise EvidenceError("--markdown and --latex tell what predictions on one data set show; use --json.")


def _judge_numbers(text: str, level: float, as_json: bool, with_files: bool) -> None:
    from tiebreak.evidence.compare.numbers import bound_numbers, numbers_text, read_numbers

    if with_files:
        raise EvidenceError("--numbers judges a sentence instead of files; leave out one of them.")
    bounds = bound_numbers(read_numbers(text), level)
    typer.echo("\n\n".join(map(numbers_text, bounds)), err=as_json)
    if as_json:
        echo_json({"pairs": [asdict(bound) | {"finding": bound.finding} for bound in bounds]})


def _show_all(judged: "OverAll", as_json: bool) -> None:
    """A verdict for each data set, and one over all."""
    from tiebreak.actions.judge import as_json as verdicts_as_json
    from tiebreak.actions.judge import print_results

    console = make_console(stderr=as_json)
    for name, verdicts in judged.by_dataset.items():
        console.print(f"\nData set {name}", style="bold", markup=False, highlight=False)
        print_results(verdicts, console)
    console.print(f"\nOver {len(judged.by_dataset)} data sets", style="bold", highlight=False)
    for pair in judged.over:
        console.print(pair.sentence, markup=False, highlight=False, soft_wrap=True)
    if judged.ranks is not None:
        places = ", ".join(f"{label} {rank:.2f}" for label, rank in judged.ranks.ranks.items())
        console.print(
            f"Mean ranks: {places}; those less than {judged.ranks.critical_difference:.2f} apart cannot be "
            "told apart (Nemenyi).",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if as_json:
        answer = {
            "datasets": {name: verdicts_as_json(found) for name, found in judged.by_dataset.items()},
            "over_all": [asdict(pair) for pair in judged.over],
            "mean_ranks": judged.ranks and asdict(judged.ranks),
        }
        echo_json(answer)
