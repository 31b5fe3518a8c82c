"""The commands: parse, call the API, print. Heavy imports wait until a command needs them."""

import json
import os
import shlex
import sys
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiebreak.cli_options import (
    BatchSize,
    DataDir,
    Dataset,
    Json,
    LearningRate,
    Resize,
    Threads,
    with_study_options,
)
from tiebreak.errors import StoppedError, TiebreakError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from tiebreak.api import Results
    from tiebreak.study.stop import StopRequest

EXIT_REFUTED, EXIT_USAGE, EXIT_NOT_ENOUGH_DATA = 1, 2, 3
EXIT_CLOSED_PIPE = 1  # as Rich ends a program whose reader has left
DEFAULT_DATASET = "fashion-small"

app = typer.Typer(
    name="tiebreak",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train image classifiers side by side and say which one is better: by how much, how sure, and why.",
    epilog="Start here: [bold]tiebreak compare mlp cnn --epochs 10[/bold]",
)
data_app = typer.Typer(no_args_is_help=True, help="List, fetch and look at data sets.")
app.add_typer(data_app, name="data")


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"tiebreak {metadata.version('tiebreak')}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    pass


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
    as_json: Json = False,
) -> None:
    """Train contenders side by side, with the same seeds, and say which one is better."""
    _import_ahead(overrides)
    from tiebreak.study.study_file import interpret

    _run(interpret({"contenders": contenders}, overrides), as_json)


@app.command(epilog="Example: [bold]tiebreak run studies/mlp_vs_cnn.toml --seeds 3[/bold]")
@with_study_options
def run(
    study_file: Annotated[Path, typer.Argument(help="A study file (TOML).")],
    overrides: dict[str, Any],
    as_json: Json = False,
) -> None:
    """Run the study that a file describes; what the command line says wins over the file."""
    _import_ahead(overrides)
    from tiebreak.study.study_file import read_study_file

    _run(read_study_file(study_file, overrides), as_json)


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
    from tiebreak.explanation import make_request, print_explanation, run_explanation
    from tiebreak.report.explain_tables import explanation_as_json
    from tiebreak.study.study_file import interpret

    if budget is not None and "seeds" in overrides:
        raise TiebreakError("--budget picks the seeds; leave out --seeds, or leave out --budget.")
    study, execution, out = interpret({"contenders": [a, b], "seeds": 3}, overrides)
    request = make_request(study, ask, budget, out)
    with _stoppable() as stop:
        explanation = run_explanation(request, execution, console=_console(stderr=as_json), stop=stop)
    print_explanation(explanation, _console(stderr=as_json))
    if as_json:
        typer.echo(json.dumps(explanation_as_json(explanation)))


@app.command(epilog="Example: [bold]tiebreak report tiebreak-studies/mlp-vs-cnn-on-cifar10-1a2b3c[/bold]")
def report(
    study: Annotated[Path, typer.Argument(help="A study folder.")],
    as_json: Json = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Table, verdict, figures and the page (report.html) of a study again, from its folder alone."""
    from tiebreak.api import write_report

    with _console(stderr=True).status("Drawing figures and writing the page"):
        results = write_report(study)
    _print_results(results, as_json)
    if show:
        typer.launch(str(results.page))


@app.command(epilog="Example: [bold]tiebreak plan --difference 0.01 --pilot tiebreak-studies/...[/bold]")
def plan(
    difference: Annotated[float, typer.Option(help="The difference in accuracy to show: 0.01 is one point.")],
    pilot: Annotated[
        Path | None, typer.Option(help="A study folder to learn spreads and times from.")
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
    from tiebreak.api import plan as plan_study
    from tiebreak.report.tables import budget_as_json
    from tiebreak.report.terminal import print_budget

    budget = plan_study(
        difference,
        pilot=pilot,
        power=power,
        level=level,
        test_images=test_images,
        accuracy=accuracy,
        contenders=contenders,
        out=out,
    )
    print_budget(budget, _console(stderr=as_json))
    if as_json:
        typer.echo(json.dumps(budget_as_json(budget)))


@app.command(
    epilog="Example: [bold]tiebreak check STUDY 'cnn - mlp >= 0.15' 'cnn.params <= mlp.params'[/bold]"
)
def check(
    study: Annotated[Path, typer.Argument(help="A study folder.")],
    claims: Annotated[list[str], typer.Argument(help="'cnn - mlp >= 0.15', 'cnn ~ mlp within 1%', ...")],
    as_json: Json = False,
) -> None:
    """Hold claims against a study. Exit status: 0 all shown, 1 one refuted, 3 not enough data."""
    from tiebreak.api import check as check_study
    from tiebreak.evidence.claim_outcome import Finding, claim_line
    from tiebreak.report.tables import claim_as_json
    from tiebreak.study.store import read_study

    outcomes = check_study(study, claims)
    for outcome in outcomes:
        typer.echo(claim_line(outcome), err=as_json)
    if looks := read_study(study).study.looks:
        typer.echo(
            f"Note: the study could stop at {len(looks)} looks; the level allows for them all.", err=True
        )
    if as_json:
        answer = {"study": str(study), "claims": [claim_as_json(outcome) for outcome in outcomes]}
        typer.echo(json.dumps(answer))
    findings = {outcome.finding for outcome in outcomes}
    if Finding.REFUTED in findings:
        raise SystemExit(EXIT_REFUTED)
    if Finding.NOT_ENOUGH_DATA in findings:
        raise SystemExit(EXIT_NOT_ENOUGH_DATA)


@app.command(epilog="Example: [bold]tiebreak anatomy cnn --dataset cifar10[/bold]")
def anatomy(
    model: Annotated[str, typer.Argument(help="A model, e.g. mlp or 'cnn(width=64)'.")],
    dataset: Dataset = DEFAULT_DATASET,
    data_dir: DataDir = None,
    resize: Resize = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the initial weights and the batch.")] = 0,
) -> None:
    """Walk through one training step on a real batch: zero gradients, forward, loss, backward, update."""
    from tiebreak.api import examine
    from tiebreak.report.terminal import print_anatomy

    settings = {"batch_size": batch_size, "lr": lr}
    given: dict[str, Any] = {key: value for key, value in settings.items() if value is not None}
    print_anatomy(examine(model, _load(dataset, data_dir, resize), seed=seed, **given), model, _console())


@app.command(epilog="Example: [bold]tiebreak models 'cnn(width=64)' --dataset cifar10[/bold]")
def models(
    more: Annotated[
        list[str] | None, typer.Argument(help="Models to count beside the built-in ones.")
    ] = None,
    dataset: Dataset = DEFAULT_DATASET,
    data_dir: DataDir = None,
    resize: Resize = None,
) -> None:
    """List the models with their parameters and FLOPs for a data set's images."""
    from tiebreak.api import model_table
    from tiebreak.report.terminal import print_table

    data = _load(dataset, data_dir, resize)
    shape = " x ".join(map(str, data.image_shape))
    typer.echo(f"For images of {shape} in {data.num_classes} classes ({data.name}):\n")
    print_table(model_table(data, more or []), _console(), coloured=False)


@app.command(epilog="Example: [bold]tiebreak bench --threads 2[/bold]")
def bench(
    dataset: Dataset = None,
    data_dir: DataDir = None,
    threads: Threads = None,
    quick: Annotated[bool, typer.Option("--quick", help="About 20 seconds, and less sure.")] = False,
    as_json: Json = False,
) -> None:
    """Measure how fast this machine trains, beside the case study's loop. At most 2 minutes.

    Without --dataset on random images of CIFAR-10's size: what is on an image does not change the speed.
    """
    from dataclasses import asdict

    from tiebreak.bench.loops import random_images
    from tiebreak.bench.measure import Effort, run_bench
    from tiebreak.bench.table import bench_notes, bench_table
    from tiebreak.report.terminal import print_table

    data = _load(dataset, data_dir, None) if dataset else random_images()
    measured = run_bench(data, threads, Effort.quick() if quick else Effort())
    console = _console(stderr=as_json)
    print_table(bench_table(measured), console, coloured=False)
    for note in bench_notes(measured):
        console.print(note, markup=False, highlight=False)
    if as_json:
        typer.echo(json.dumps(asdict(measured)))


@data_app.command("list")
def data_list() -> None:
    """List the data sets that tiebreak knows."""
    from tiebreak.data.catalog import dataset_names
    from tiebreak.report.tables import Table
    from tiebreak.report.terminal import print_table

    rows = tuple(
        (name, description, "here" if at_hand else "download")
        for name, description, at_hand in dataset_names()
    )
    columns = ("name", "what it is", "where")
    print_table(Table(columns=columns, rows=rows, text_columns=columns), _console(), coloured=False)


@data_app.command("fetch", epilog="Example: [bold]tiebreak data fetch cifar10[/bold]")
def data_fetch(name: Annotated[str, typer.Argument(help="A name from the list.")]) -> None:
    """Download a data set if it is not here yet, check it, and prepare it for use."""
    data = _load(name, None, None)
    typer.echo(f"{name}: {len(data.train):,} training and {len(data.test):,} test images are ready.")


@data_app.command("show", epilog="Example: [bold]tiebreak data show folder:photos --resize 32[/bold]")
def data_show(
    name: Annotated[str, typer.Argument(help="A name from the list, folder:PATH or arrays:FILE.npz.")],
    data_dir: DataDir = None,
    resize: Resize = None,
) -> None:
    """Tell what is in a data set: images, classes, channel statistics, fingerprint."""
    from tiebreak.report.terminal import print_dataset

    print_dataset(_load(name, data_dir, resize), _console())


def _load(name: str | None, data_dir: Path | None, resize: int | None) -> Any:
    from tiebreak.data.catalog import load_dataset

    return load_dataset(name or DEFAULT_DATASET, data_dir=data_dir, resize=resize)


def _import_ahead(overrides: dict[str, Any]) -> None:
    """Let another core import PyTorch for the workers, while this process imports it for itself."""
    execution = overrides.get("execution", {})
    if execution.get("executor", "auto") in ("auto", "processes") and execution.get("workers") != "1":
        from tiebreak.study.fork_server import start_early

        start_early(execution.get("threads", 1))


def _run(planned: Any, as_json: bool) -> None:
    from tiebreak.api import run as run_planned

    study, execution, out = planned
    with _stoppable() as stop:
        # With --json, stdout is for the object alone.
        results = run_planned(study, execution, out, console=_console(stderr=as_json), stop=stop)
    _print_results(results, as_json)


@contextmanager
def _stoppable() -> "Iterator[StopRequest]":
    """Let Ctrl-C and SIGTERM stop the study inside the block gently, and say how to go on."""
    from tiebreak.study.stop import stop_on_signals

    with stop_on_signals() as stop:
        try:
            yield stop
        except (StoppedError, SystemExit):
            if stop.signal is None:
                raise
            command = shlex.join(["tiebreak", *sys.argv[1:]])
            sys.stderr.write(f"tiebreak: stopped; what is finished is kept. To go on: {command}\n")
            raise SystemExit(128 + stop.signal) from None


def _print_results(results: "Results", as_json: bool) -> None:
    from tiebreak.api import as_json as results_as_json
    from tiebreak.api import print_results

    print_results(results, _console(stderr=as_json))
    if as_json:
        typer.echo(json.dumps(results_as_json(results)))


def _console(stderr: bool = False) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr)
    # Where nothing shows how wide it is (a pipe, a file), a table must not be squeezed into 80 columns.
    return console if console.is_terminal else Console(stderr=stderr, width=160)


def main() -> None:
    """Run the command line. A user's error is one line on stderr and exit status 2."""
    try:
        app(standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # `tiebreak models | head`: who read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed
        raise SystemExit(EXIT_CLOSED_PIPE) from None
    except typer.TyperException as error:
        message = " ".join(getattr(error, "format_message", error.__str__)().split())
        if not message:  # a command without any argument: its help was shown
            raise SystemExit(EXIT_USAGE) from None
        _fail(f"{message.removesuffix('.')}. See --help.")
    except typer.Abort:
        raise SystemExit(130) from None
    except TiebreakError as error:
        _fail(" ".join(str(error).split()))
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")


def _fail(message: str) -> None:
    sys.stderr.write(f"tiebreak: {message}\n")
    raise SystemExit(EXIT_USAGE)


if __name__ == "__main__":
    main()
