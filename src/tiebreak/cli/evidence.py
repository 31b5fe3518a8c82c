"""Commands that read what is there: report, plan, export, check."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiebreak.cli.app import (
    EXIT_NOT_ENOUGH_DATA,
    EXIT_REFUTED,
    app,
    check_forms,
    echo_json,
    leave_if_incomplete,
    make_console,
    show_results,
)
from tiebreak.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiebreak.evidence.claims.outcome import ClaimOutcome


@app.command(epilog="Example: [bold]tiebreak report tiebreak-studies/mlp-vs-cnn-on-cifar10-1a2b3c[/bold]")
def report(
    study: Annotated[Path, typer.Argument(help="A study folder.")],
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown on stdout.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX on stdout.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Table, verdict, figures and the page (report.html) of a study again, from its folder alone."""
    from tiebreak.actions.report import write_report

    check_forms(as_json, markdown, latex)
    with make_console(stderr=True).status("Drawing figures and writing the page"):
        results = write_report(study)
    show_results(results, as_json, markdown=markdown, latex=latex)
    if show:
        import webbrowser

        if not webbrowser.open(results.page.absolute().as_uri()):
            typer.echo(f"No browser can be opened here; the page is {results.page}", err=True)
    leave_if_incomplete(results.results)


@app.command(epilog="Example: [bold]tiebreak plan --difference 0.01 --pilot tiebreak-studies/...[/bold]")
def plan(
    difference: Annotated[float, typer.Option(help="The difference in accuracy to show: 0.01 is one point.")],
    pilot: Annotated[
        Path | None, typer.Option(help="A study folder to learn spreads and times from.")
    ] = None,
    pair: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Two contenders of the pilot; by default the least certain pair."),
    ] = None,
    power: Annotated[float, typer.Option(help="The chance to show it if it is there.")] = 0.8,
    level: Annotated[float | None, typer.Option(help="Of the interval; the pilot's, or 0.95.")] = None,
    test_images: Annotated[int | None, typer.Option(min=2, help="Without a pilot: test images.")] = None,
    accuracy: Annotated[float | None, typer.Option(help="Without a pilot: accuracy expected.")] = None,
    contenders: Annotated[int, typer.Option(min=2, help="Without a pilot: how many are compared.")] = 2,
    out: Annotated[Path | None, typer.Option(help="A folder for the figure: power over seeds.")] = None,
    as_json: Json = False,
) -> None:
    """Tell how many seeds a difference needs, and the smallest that a test set can ever show."""
    from tiebreak.actions.plan import plan as plan_study
    from tiebreak.report.terminal.look import print_budget
    from tiebreak.report.text.values import budget_as_json

    budget = plan_study(
        difference,
        pilot=pilot,
        pair=pair,
        power=power,
        level=level,
        test_images=test_images,
        accuracy=accuracy,
        contenders=contenders,
        out=out,
    )
    print_budget(budget, make_console(stderr=as_json))
    if as_json:
        echo_json(budget_as_json(budget))


@app.command(epilog="Example: [bold]tiebreak pareto tiebreak-studies/* --by flops --out figures[/bold]")
def pareto(
    studies: Annotated[list[Path], typer.Argument(help="Study folders, on the same data.")],
    by: Annotated[str, typer.Option(help="The cost: seconds or flops of training.")] = "seconds",
    out: Annotated[Path | None, typer.Option(help="A folder for the figure.")] = None,
    as_json: Json = False,
) -> None:
    """Set accuracy against what training costs, and mark whom nobody beats in both."""
    from dataclasses import asdict

    from tiebreak.actions.pareto import pareto as set_against_cost
    from tiebreak.actions.pareto import pareto_table
    from tiebreak.evidence.compare.pareto import CostOf, places
    from tiebreak.report.terminal.tables import print_table

    found = set_against_cost(studies, by, out)
    print_table(pareto_table(found, CostOf(by)), make_console(stderr=as_json))
    if as_json:
        echo_json([asdict(one) | {"place": place} for one, place in zip(found, places(found), strict=True)])


@app.command(epilog="Example: [bold]tiebreak export STUDY predictions.parquet[/bold]")
def export(
    study: Annotated[Path, typer.Argument(help="A study folder, or one of judged results.")],
    file: Annotated[Path, typer.Argument(help="What to write: .csv, .tsv, .parquet, .jsonl or .npz.")],
) -> None:
    """Write the answers of all runs into one file, for other tools, or for tiebreak judge."""
    from tiebreak.actions.judge import read_results
    from tiebreak.results.export import export_results

    results = read_results(study)
    export_results(results, file)
    runs = sum(len(contender.runs) for contender in results.contenders)
    typer.echo(f"{file}: {runs} runs of {len(results.labels)} contenders.")


@app.command(
    epilog="Example: [bold]tiebreak check STUDY 'cnn - mlp >= 0.15' 'cnn.params <= mlp.params'[/bold]"
)
def check(
    study: Annotated[Path, typer.Argument(help="A study folder.")],
    claims: Annotated[list[str], typer.Argument(help="'cnn - mlp >= 0.15', 'cnn ~ mlp within 1%', ...")],
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML: a test case a claim.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a table as Markdown.")] = None,
    as_json: Json = False,
) -> None:
    """Hold claims against a study. Exit status: 0 all shown, 1 one refuted, 3 not enough data."""
    from tiebreak.actions.check import check as check_study
    from tiebreak.actions.judge import read_results
    from tiebreak.evidence.claims.outcome import Finding, claim_line
    from tiebreak.report.text.values import claim_as_json

    outcomes = check_study(study, claims)
    for outcome in outcomes:
        typer.echo(claim_line(outcome), err=as_json)
    _write_findings(outcomes, str(study), junit, markdown)
    if looks := read_results(study).rule.looks:
        typer.echo(
            f"Note: the study could stop at {len(looks)} looks; the level allows for them all.", err=True
        )
    if as_json:
        answer = {"study": str(study), "claims": [claim_as_json(outcome) for outcome in outcomes]}
        echo_json(answer)
    findings = {outcome.finding for outcome in outcomes}
    if Finding.REFUTED in findings:
        raise SystemExit(EXIT_REFUTED)
    if Finding.NOT_ENOUGH_DATA in findings:
        raise SystemExit(EXIT_NOT_ENOUGH_DATA)


def _write_findings(
    outcomes: "Sequence[ClaimOutcome]", source: str, junit: Path | None, markdown: Path | None
) -> None:
    from tiebreak.files import atomic_write
    from tiebreak.report.text.claims import as_junit, as_markdown

    for path, write in ((junit, as_junit), (markdown, as_markdown)):
        if path is not None:
            with atomic_write(path) as file:
                file.write(write(outcomes, source).encode("utf-8"))
