"""The command line as a whole, and what its commands share."""

from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiebreak.data.names import DEFAULT_DATASET
from tiebreak.errors import StudyError

if TYPE_CHECKING:
    from rich.console import Console

    from tiebreak.actions.judge import Verdicts
    from tiebreak.data.dataset import ImageDataset
    from tiebreak.results.results import Results


EXIT_REFUTED, EXIT_USAGE, EXIT_NOT_ENOUGH_DATA = 1, 2, 3
EXIT_INCOMPLETE = 1  # a contender has no run

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
recipes_app = typer.Typer(no_args_is_help=True, help="List recipes, and show one to copy and change.")
app.add_typer(recipes_app, name="recipes")


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"tiebreak {metadata.version('tiebreak')}")
        raise typer.Exit
    return wanted


def _print_what_computes(wanted: bool) -> bool:
    if wanted:
        import torch

        from tiebreak.kernels import active_kernels, kernel_variant
        from tiebreak.training.placement.device import processor_name

        names = ", ".join(active_kernels())
        kernels = f"{kernel_variant()} ({names})" if kernel_variant() else "none, PyTorch computes"
        typer.echo(
            f"tiebreak {metadata.version('tiebreak')}, PyTorch {torch.__version__}, {processor_name()}"
        )
        typer.echo(f"kernels: {kernels}")
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
    about: Annotated[
        bool,
        typer.Option(
            "--about",
            callback=_print_what_computes,
            is_eager=True,
            help="Print what computes on this machine, too, and leave.",
        ),
    ] = False,
) -> None:
    pass


def load_data(name: str | None, **choice: Any) -> "ImageDataset":
    """The data set of a name and of what options say about it; shows what takes time."""
    from tiebreak.actions.load import load
    from tiebreak.study.plan import DataChoice

    return load(DataChoice(name=name or DEFAULT_DATASET, **choice), make_console(stderr=True))


def make_console(stderr: bool = False) -> "Console":
    from tiebreak.report.terminal.console import TerminalConsole
    from tiebreak.report.terminal.tables import WIDE

    console = TerminalConsole(stderr=stderr, emoji=False)  # "folder:one:" is a name
    return console if console.is_terminal else TerminalConsole(stderr=stderr, emoji=False, width=WIDE)


def echo_json(value: Any) -> None:
    """One line of JSON on stdout that every reader takes."""
    from tiebreak.report.text.values import strict_json

    typer.echo(strict_json(value))


def leave_if_incomplete(results: "Results") -> None:
    """End with 1, once everything is written, if a contender has no run that could be judged."""
    if results.without_runs:
        raise SystemExit(EXIT_INCOMPLETE)


def check_forms(as_json: bool, markdown: bool, latex: bool) -> None:
    """Stdout holds one form. Raises: StudyError if several are asked for."""
    if as_json + markdown + latex > 1:
        raise StudyError("stdout holds one form; give one of --json, --markdown and --latex.")


def show_results(results: "Verdicts", as_json: bool, *, markdown: bool = False, latex: bool = False) -> None:
    """Table, verdict and where to look; on stderr where stdout is for JSON, Markdown or LaTeX alone."""
    show_findings(results, as_json=as_json, markdown=markdown, latex=latex)
    show_where(results, stderr=as_json or markdown or latex)


def show_where(results: "Verdicts", *, stderr: bool) -> None:
    """Where figures and page are."""
    from tiebreak.actions.judge import say_where

    say_where(results, make_console(stderr=stderr))


def show_findings(results: "Verdicts", *, as_json: bool, markdown: bool, latex: bool) -> None:
    """Table and verdict, and in the form that was asked for on stdout."""
    from tiebreak.actions.judge import as_json as results_as_json
    from tiebreak.actions.judge import findings
    from tiebreak.report.terminal.results import print_findings

    print_findings(findings(results), make_console(stderr=as_json or markdown or latex))
    if markdown or latex:
        from tiebreak.report.text.paper import as_latex, as_markdown

        parts = (results.results, results.contenders, results.judgements)
        typer.echo(as_markdown(*parts, results.notes) if markdown else as_latex(*parts), nl=False)
    if as_json:
        echo_json(results_as_json(results))
