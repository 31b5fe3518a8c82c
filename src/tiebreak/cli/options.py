"""The options that `compare` and `run` share, declared once; each belongs to a table of the study file."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

Out = Annotated[Path | None, typer.Option(help="The study folder; by default one named after the plan.")]


def _seeds(text: str) -> int | str:
    if text == "auto":
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise typer.BadParameter(f"expected a number from 1 on, or auto, got {text!r}.")


def _looks(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"expected rising numbers of seeds such as 3,6,10, got {text!r}.")
    return tuple(map(int, parts))


Seeds = Annotated[
    str | None,
    typer.Option(
        parser=_seeds,
        metavar="N|auto",
        help="How many seeds each contender is trained with (5; explain: 3); auto: until decided.",
    ),
]
MaxSeeds = Annotated[int | None, typer.Option(min=2, help="With --seeds auto: the most seeds.")]
Looks = Annotated[
    str | None,
    typer.Option(
        parser=_looks, metavar="N,N,...", help="With --seeds auto: when to judge, in seeds (3,5,8,12,20,30)."
    ),
]
Equivalence = Annotated[
    float | None, typer.Option(help="A difference in accuracy that would not matter: 0.01 is one point.")
]
Baseline = Annotated[
    str | None, typer.Option(help="Compare all contenders with this one, not each with each.")
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the training split (5).")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images in a step (128).")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Learning rate (0.001).")]
Dataset = Annotated[
    str | None,
    typer.Option(help="A name from 'tiebreak data list' (fashion-small), folder:PATH or arrays:FILE.npz."),
]
DataDir = Annotated[Path | None, typer.Option(help="A folder that already holds the data set's files.")]
ValSize = Annotated[int | None, typer.Option(min=1, help="Training images kept for validation (a tenth).")]
Resize = Annotated[int | None, typer.Option(min=1, help="Height and width to scale a folder's images to.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads that a run uses (1).")]
Executor = Annotated[
    str | None, typer.Option(help="Where runs are computed: auto, serial, processes or ray.")
]
Workers = Annotated[
    str | None,
    typer.Option(help="Processes side by side: a number, or auto for what cores and memory allow."),
]
Address = Annotated[str | None, typer.Option(help="A Ray cluster; without it Ray starts on this machine.")]
CpusPerRun = Annotated[float | None, typer.Option(min=0, help="CPUs that Ray keeps for a run.")]
GpusPerRun = Annotated[float | None, typer.Option(min=0, help="GPUs that Ray keeps for a run, e.g. 0.25.")]
RetryFailed = Annotated[bool | None, typer.Option("--retry-failed", help="Train failed runs again.")]
Precision = Annotated[
    str | None, typer.Option(help="auto, fp32 or bf16; auto: bf16 where the hardware has it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line on stdout.")]

# name -> (table of the study file, or "" for its top level; declaration)
SHARED: dict[str, tuple[str, Any]] = {
    "out": ("", Out),
    "seeds": ("", Seeds),
    "max_seeds": ("", MaxSeeds),
    "looks": ("", Looks),
    "equivalence": ("", Equivalence),
    "baseline": ("", Baseline),
    "epochs": ("recipe", Epochs),
    "batch_size": ("recipe", BatchSize),
    "lr": ("recipe", LearningRate),
    "dataset": ("data", Dataset),
    "data_dir": ("data", DataDir),
    "val_size": ("data", ValSize),
    "resize": ("data", Resize),
    "device": ("execution", Device),
    "threads": ("execution", Threads),
    "executor": ("execution", Executor),
    "workers": ("execution", Workers),
    "address": ("execution", Address),
    "cpus_per_run": ("execution", CpusPerRun),
    "gpus_per_run": ("execution", GpusPerRun),
    "retry_failed": ("execution", RetryFailed),
    "precision": ("execution", Precision),
}
FILE_KEYS = {"dataset": "name"}  # where option and key of the file have different names


def with_study_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options; it receives those that were given as `overrides`, by table."""
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "overrides"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, (_, annotation) in SHARED.items()
    ]

    @functools.wraps(command)
    def with_overrides(**values: Any) -> None:
        overrides: dict[str, Any] = {}
        for name, (table, _) in SHARED.items():
            value = values.pop(name)
            if value is not None:
                target = overrides.setdefault(table, {}) if table else overrides
                target[FILE_KEYS.get(name, name)] = value
        command(**values, overrides=overrides)

    ordered = sorted([*own, *shared], key=lambda parameter: parameter.kind)
    with_overrides.__signature__ = signature.replace(parameters=ordered)  # type: ignore[attr-defined]
    with_overrides.__annotations__ = {parameter.name: parameter.annotation for parameter in ordered}
    return with_overrides
