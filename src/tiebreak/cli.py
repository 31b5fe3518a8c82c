"""The commands: parse, call the API, print. Heavy imports wait until a command needs them."""

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiebreak.cli_options import BatchSize, DataDir, Dataset, Json, LearningRate, Resize, with_study_options
from tiebreak.errors import TiebreakError

if TYPE_CHECKING:
    from rich.console import Console

    from tiebreak.api import Results

EXIT_USAGE = 2
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
    from tiebreak.study.study_file import read_study_file

    _run(read_study_file(study_file, overrides), as_json)


@app.command(epilog="Example: [bold]tiebreak report tiebreak-studies/mlp-vs-cnn-on-cifar10-1a2b3c[/bold]")
def report(
    study: Annotated[Path, typer.Argument(help="A study folder.")],
    as_json: Json = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Table, verdict, figures and the page (report.html) of a study again, from its folder alone."""
    from tiebreak.api import write_report

    results = write_report(study)
    _print_results(results, as_json)
    if show:
        typer.launch(str(results.page))


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


def _run(planned: Any, as_json: bool) -> None:
    from tiebreak.api import run as run_planned

    study, execution, out = planned
    # With --json, stdout is for the object alone.
    _print_results(run_planned(study, execution, out, console=_console(stderr=as_json)), as_json)


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
    # A closed pipe (`tiebreak models | head`) ends the program as it ends other tools.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        app(standalone_mode=False)
    except typer.TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        _fail(" ".join(message.split()) + " See --help.")
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
