"""Commands that train: compare, run, explain."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiebreak.cli.app import app, echo_json, leave_if_incomplete, make_console, show_results
from tiebreak.cli.options import Json, with_study_options
from tiebreak.errors import TiebreakError

DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say how long it would take, with memory and disk, and train nothing."),
]

if TYPE_CHECKING:
    from tiebreak.study.stop import StopRequest


@app.command(
    epilog="Example: [bold]tiebreak compare mlp 'wide=cnn(width=64)' --dataset cifar10 --seeds 5[/bold]"
)
@with_study_options
def compare(
    contenders: Annotated[
        list[str],
        typer.Argument(help="Models: mlp, 'cnn(width=64)', 'wide=cnn(width=64)', path/to/file.py:factory."),
    ],
    overrides: dict[str, Any],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train contenders side by side, with the same seeds, and say which one is better."""
    _import_ahead(overrides)
    from tiebreak.study.study_file import interpret

    _run(interpret({"contenders": contenders}, overrides), as_json, dry_run)


@app.command(epilog="Example: [bold]tiebreak run studies/mlp_vs_cnn.toml --seeds 3[/bold]")
@with_study_options
def run(
    study_file: Annotated[Path, typer.Argument(help="A study file (TOML).")],
    overrides: dict[str, Any],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Run the study that a file describes; what the command line says wins over the file."""
    _import_ahead(overrides)
    from tiebreak.study.study_file import read_study_file

    _run(read_study_file(study_file, overrides), as_json, dry_run)


@app.command(epilog="Example: [bold]tiebreak explain mlp cnn --dataset cifar10 --seeds 3 --epochs 5[/bold]")
@with_study_options
def explain(
    a: Annotated[str, typer.Argument(metavar="A", help="The model that is behind, e.g. mlp.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The model that leads, e.g. cnn.")],
    overrides: dict[str, Any],
    ask: Annotated[
        str | None,
        typer.Option(help="Some of arrangement, ladder, control, size, data, shift (arrangement,ladder)."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Instead of --seeds: a time such as 10m; decides the seeds, and the epochs up to --epochs."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask why B leads A: train both on scrambled images, and the models between them."""
    _import_ahead(overrides)
    from tiebreak.actions.explain import make_request, print_explanation, run_explanation
    from tiebreak.report.text.explained import explanation_as_json
    from tiebreak.study.study_file import interpret

    if budget is not None and "seeds" in overrides:
        raise TiebreakError("--budget picks the seeds; leave out --seeds, or leave out --budget.")
    study, execution, out = interpret({"contenders": [a, b], "seeds": 3}, overrides)
    request = make_request(study, ask, budget, out)
    console = make_console(stderr=as_json)
    explanation = run_explanation(request, execution, console=console, stop=_stoppable())
    print_explanation(explanation, console)
    if as_json:
        echo_json(explanation_as_json(explanation))
    leave_if_incomplete(explanation.results)


@app.command(epilog="Example: [bold]tiebreak ablate cnn --recipe regularised --seeds 3[/bold]")
@with_study_options
def ablate(
    contender: Annotated[str, typer.Argument(help="A model, e.g. cnn or 'resnet(depth=14)'.")],
    overrides: dict[str, Any],
    without: Annotated[
        str | None, typer.Option(help="Pieces of the recipe, e.g. flip,cutout; by default each in turn.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Say what each piece of a recipe brings: train with all of them, and with each left out."""
    _import_ahead(overrides)
    from tiebreak.actions.ablate import ablated
    from tiebreak.study.study_file import interpret

    if overrides.get("seeds") == "auto":
        raise TiebreakError("ablate trains a number of seeds, e.g. --seeds 3.")
    study, execution, out = interpret({"contenders": [contender], "seeds": 3}, overrides)
    pieces = [piece.strip() for piece in without.split(",")] if without else None
    _run((ablated(study, pieces), execution, out), as_json, dry_run)


def _import_ahead(overrides: dict[str, Any]) -> None:
    """Let another core import PyTorch for the workers, while this process imports it for itself."""
    if overrides.get("executor", "auto") in ("auto", "processes") and overrides.get("workers") != "1":
        from tiebreak.study.where import WORK
        from tiebreak.study.where.fork_server import start_early

        start_early(WORK, overrides.get("threads", 1))


def _run(planned: Any, as_json: bool, dry: bool) -> None:
    from tiebreak.actions.run import run as run_planned

    study, execution, out = planned
    if dry:
        _tell_what_it_takes(study, execution, out, as_json)
        return
    # With --json, stdout is for the object alone.
    results = run_planned(study, execution, out, console=make_console(stderr=as_json), stop=_stoppable())
    show_results(results, as_json)
    leave_if_incomplete(results.results)


def _tell_what_it_takes(study: Any, execution: Any, out: Path | None, as_json: bool) -> None:
    from tiebreak.actions.dry_run import dry_run

    found = dry_run(study, execution, out, console=make_console(stderr=True))
    typer.echo(found, err=as_json)
    if as_json:
        echo_json(asdict(found))


def _stoppable() -> "StopRequest":
    """What Ctrl-C and SIGTERM set; from now on they say how to go on, too."""
    from tiebreak.study.stop import ASKED

    command = shlex.join(["tiebreak", *sys.argv[1:]])
    ASKED.farewell = f"tiebreak: stopped; what is finished is kept. To go on: {command}\n"
    return ASKED
