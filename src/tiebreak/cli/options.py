"""The options that `compare` and `run` share, declared once; each belongs to a table of the study file."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer


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


def _option(panel: str, what: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=what, rich_help_panel=panel, **more)


_study, _recipe, _tuning, _data, _machine = (
    functools.partial(_option, panel)
    for panel in ("Study", "Recipe", "Tuning, alike for all", "Data", "Where and how runs are computed")
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line on stdout.")]

# Options that single commands take too.
Dataset = Annotated[
    str | None,
    _data("A name from 'tiebreak data list' (fashion-small), folder:PATH or arrays:FILE.npz."),
]
DataDir = Annotated[Path | None, _data("A folder that already holds the data set's files.")]
Resize = Annotated[int | None, _data("Height and width to scale a folder's images to.", min=1)]
SkipBadImages = Annotated[
    bool, _data("Leave out images of a folder that cannot be read.", "--skip-bad-images", metavar="")
]
BatchSize = Annotated[int | None, _recipe("Images in a step (128).", min=1)]
LearningRate = Annotated[float | None, _recipe("Learning rate (0.001).", "--lr")]
Threads = Annotated[
    int | None, _machine("CPU threads that a run uses (1; more if the runs are fewer than the cores).", min=1)
]

# The options of a study by their names in a study file; `study_file.PLACES` knows the table of each.
SHARED: dict[str, Any] = {
    "out": Annotated[Path | None, _study("The study folder; by default one named after the plan.")],
    "seeds": Annotated[
        str | None,
        _study(
            "How many seeds each contender is trained with (5; explain: 3); auto: until decided.",
            parser=_seeds,
            metavar="N|auto",
        ),
    ],
    "max_seeds": Annotated[int | None, _study("With --seeds auto: the most seeds.", min=2)],
    "looks": Annotated[
        str | None,
        _study(
            "With --seeds auto: when to judge, in seeds (3,5,8,12,20,30).", parser=_looks, metavar="N,N,..."
        ),
    ],
    "level": Annotated[float | None, _study("Of the intervals (0.95).")],
    "equivalence": Annotated[
        float | None, _study("A difference in accuracy that would not matter: 0.01 is one point.")
    ],
    "superiority": Annotated[
        float | None, _study("Say whether the better one is better by at least so much (0.01: one point).")
    ],
    "also_test": Annotated[
        list[str] | None,
        _data(
            "Further test images for the trained models, such as folder:newer or cifar10.1; may be repeated.",
            metavar="DATA",
        ),
    ],
    "vary": Annotated[
        str | None,
        _study(
            "data: train as many runs again on training images drawn anew, and count that luck, too; "
            "disjoint: each seed trains on images of its own."
        ),
    ],
    "equal": Annotated[
        str | None,
        _study(
            "Train all until they have spent as much as the first: epochs, seconds, flops or steps; or as "
            "another (seconds:cnn), or a given amount (seconds=60).",
            metavar="BUDGET",
        ),
    ],
    "baseline": Annotated[str | None, _study("Compare all contenders with this one, not each with each.")],
    "recipe": Annotated[
        str | None,
        _recipe(
            "A recipe by name (tiebreak recipes list) or a TOML file; options beside it win.", metavar="NAME"
        ),
    ],
    "epochs": Annotated[int | None, _recipe("Passes over the training split (5).", min=1)],
    "patience": Annotated[
        int | None,
        _recipe(
            "Keep the best epoch by validation; stop after so many without a better one (0: never).", min=0
        ),
    ],
    "batch_size": BatchSize,
    "lr": LearningRate,
    "optimizer": Annotated[
        str | None, _recipe("adam, adamw, sgd or muon, which wants an --lr near 0.02 (adam).")
    ],
    "momentum": Annotated[float | None, _recipe("Of sgd and muon (0.9).")],
    "adam_lr": Annotated[
        float | None, _recipe("Of muon: the rate of AdamW for biases, norms and the output layer (0.001).")
    ],
    "weight_decay": Annotated[float | None, _recipe("Pull of the weights towards 0 (0).")],
    "decay_norms": Annotated[
        bool | None,
        _recipe("Whether weight decay pulls at biases and normalisations.", "--decay-norms/--no-decay-norms"),
    ],
    "nesterov": Annotated[bool | None, _recipe("Nesterov's momentum, of sgd.", "--nesterov", metavar="")],
    "clip": Annotated[float | None, _recipe("The largest norm of a step's gradient (0: any).", min=0)],
    "ema": Annotated[
        float | None, _recipe("Judge a moving average of the weights, such as 0.99 (0: the last).")
    ],
    "schedule": Annotated[
        str | None, _recipe("Of the learning rate: constant, cosine or linear (constant).")
    ],
    "warmup": Annotated[float | None, _recipe("Share of the steps in which the learning rate rises (0).")],
    "label_smoothing": Annotated[float | None, _recipe("Share of the target given to all classes (0).")],
    "flip": Annotated[bool | None, _recipe("Mirror training images at random.", "--flip", metavar="")],
    "alternate_flip": Annotated[
        bool | None,
        _recipe("With --flip: every second epoch, not at random.", "--alternate-flip", metavar=""),
    ],
    "crop": Annotated[int | None, _recipe("Shift training images by up to so many pixels (0).", min=0)],
    "pad": Annotated[str | None, _recipe("What a shift brings in: black or reflect (black).")],
    "cutout": Annotated[
        int | None, _recipe("Cut a square of so many pixels out of training images (0).", min=0)
    ],
    "brightness": Annotated[float | None, _recipe("Make training images brighter or darker by up to (0).")],
    "contrast": Annotated[float | None, _recipe("Change the contrast of training images by up to (0).")],
    "mixup": Annotated[
        float | None, _recipe("Blend training images: the strength a of Beta(a, a), such as 0.2 (0).")
    ],
    "cutmix": Annotated[
        float | None, _recipe("Paste boxes of training images into others: likewise, such as 1 (0).")
    ],
    "small_size": Annotated[
        int | None,
        _recipe(
            "Scale training images to this size in the first epochs, for models that take any (0).", min=0
        ),
    ],
    "small_share": Annotated[float | None, _recipe("With --small-size: share of the epochs (0.5).")],
    "tta": Annotated[
        str | None, _recipe("mirror: ask about each image and its mirror image, and take the mean (none).")
    ],
    "tune": Annotated[
        str | None,
        _tuning("Settings to search for each contender: lr,weight_decay or lr=1e-4..1e-2."),
    ],
    "trials": Annotated[int | None, _tuning("Of each contender in each search (6).", min=2)],
    "searches": Annotated[
        int | None, _tuning("So many searches, several seeds each; else every seed has its own.", min=2)
    ],
    "tune_once": Annotated[
        bool | None,
        _tuning("One search for all seeds; the verdict is about what it found.", "--tune-once", metavar=""),
    ],
    "halving": Annotated[
        bool | None, _tuning("Stop two thirds of the trials early, again and again.", "--halving", metavar="")
    ],
    "dataset": Dataset,
    "data_dir": DataDir,
    "val_size": Annotated[
        int | None, _data("Training images kept for validation (a tenth, or the data's own part).", min=1)
    ],
    "resize": Resize,
    "skip_bad_images": Annotated[
        bool | None,
        _data("Leave out images of a folder that cannot be read.", "--skip-bad-images", metavar=""),
    ],
    "device": Annotated[str | None, _machine("auto, cpu, cuda or mps.")],
    "threads": Threads,
    "precision": Annotated[str | None, _machine("auto, fp32 or bf16; auto: bf16 where the hardware has it.")],
    "executor": Annotated[str | None, _machine("auto, serial, processes or ray.")],
    "workers": Annotated[
        str | None, _machine("Processes side by side: a number, or auto for what cores and memory allow.")
    ],
    "address": Annotated[str | None, _machine("A Ray cluster; without it Ray starts on this machine.")],
    "cpus_per_run": Annotated[float | None, _machine("CPUs that Ray keeps for a run.", min=0)],
    "gpus_per_run": Annotated[float | None, _machine("GPUs that Ray keeps for a run, e.g. 0.25.", min=0)],
    "checkpoint_seconds": Annotated[
        float | None, _machine("Between checkpoints inside an epoch (30).", min=0)
    ],
    "retry_failed": Annotated[
        bool | None, _machine("Train failed runs again.", "--retry-failed", metavar="")
    ],
}


def with_study_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options; it receives those that were given as `overrides`."""
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "overrides"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in SHARED.items()
    ]

    @functools.wraps(command)
    def with_overrides(**values: Any) -> None:
        given = {name: values.pop(name) for name in SHARED}
        command(**values, overrides={name: value for name, value in given.items() if value not in (None, [])})

    ordered = sorted([*own, *shared], key=lambda parameter: parameter.kind)
    with_overrides.__signature__ = signature.replace(parameters=ordered)  # type: ignore[attr-defined]
    with_overrides.__annotations__ = {parameter.name: parameter.annotation for parameter in ordered}
    return with_overrides
