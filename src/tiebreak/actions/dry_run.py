"""`--dry-run`: how long a study will take, with memory and disk, from a few steps of each contender."""

import math
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tiebreak.actions.also_test import load_parts
from tiebreak.actions.equal import with_equal_budgets
from tiebreak.actions.load import load
from tiebreak.actions.time_budget import probe
from tiebreak.data.dataset import ImageDataset
from tiebreak.data.facts import few_val_images
from tiebreak.models.catalog import build_model
from tiebreak.models.users_code import users_code
from tiebreak.report.text.tables import duration
from tiebreak.rng import global_stream
from tiebreak.study.driver import plan_tasks
from tiebreak.study.plan import Contender, Execution, Study, default_folder
from tiebreak.study.where.machine import choose_workers, estimate_needs, this_machine
from tiebreak.training.placement.device import choose_device, thread_count
from tiebreak.training.placement.precision import choose_precision

PAGE_BYTES = 15_000_000  # of report.html and figures, about


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a study will take, as far as a few steps tell; what is trained already is not subtracted."""

    runs: int  # the trials of searches among them
    workers: int
    seconds_of_run: dict[str, float]  # of training and evaluation, by label
    seconds: float  # of all, side by side
    memory: float  # bytes
    disk: float  # bytes of the study folder
    notes: tuple[str, ...] = ()  # what the report of the study would mention

    def __str__(self) -> str:
        each = ", ".join(f"{label} {duration(seconds)}" for label, seconds in self.seconds_of_run.items())
        notes = "".join(f"\nNote: {note}." for note in self.notes)
        return (
            f"A run takes about: {each}.\n"
            f"{self.runs} runs, {self.workers} at a time: about {duration(self.seconds)} of training and "
            "some seconds for figures and page. "
            f"Memory about {self.memory / 1e9:.1f} GB; study folder about {self.disk / 1e6:,.0f} MB."
            f"{notes}"
        )


def dry_run(
    study: Study,
    execution: Execution | None = None,
    out: Path | None = None,
    data: ImageDataset | None = None,
    console: Console | None = None,
) -> DryRun:
    """Time a few steps of each contender, and train nothing.

    With `--seeds auto` all looks are counted, with `--halving` all trials to their end: it is the most.

    Raises: as `run`, before it trains.
    """
    execution, console = execution or Execution(), console or Console(quiet=True)
    data = load(study.data, console) if data is None else data
    load_parts(study, data)
    study = with_equal_budgets(study, out or default_folder(study), data, execution, console)
    device, val_size = choose_device(execution.device), data.val_size(study.data.val_size)
    specs = [task.spec for task in plan_tasks(study, val_size).values()]
    workers = choose_workers(specs, data, execution, this_machine(device), early_server=True)
    taken, disk = {}, 0.0
    speeds: dict[tuple[str, str, int], tuple[float, float]] = {}  # pieces of a recipe take next to no time
    count = runs_of_contender(study)
    with thread_count(execution.threads):
        for contender in study.contenders:
            kind = (contender.model, contender.recipe.optimizer, contender.recipe.batch_size)
            if kind not in speeds:
                speeds[kind] = _speed(contender, data, execution)
            taken[contender.label] = _seconds_of_run(study, contender, data, val_size, speeds[kind])
            disk += count * _bytes_of_run(contender, data, val_size)
    seconds = count * sum(taken.values())
    return DryRun(
        runs=count * len(study.contenders),
        workers=workers,
        seconds_of_run=taken,
        seconds=max(seconds / workers, max(taken.values())),
        memory=estimate_needs(specs, data).memory * (workers + 1),
        disk=disk + PAGE_BYTES,
        notes=(*data.notes, *few_val_images(val_size)),
    )


def runs_of_contender(study: Study) -> int:
    """How many runs each contender takes at most."""
    count = len(study.seeds)
    if study.tune is not None:
        count = len(study.blocks) * study.tune.trials + len(study.seeds) - len(study.blocks)
    return count * (2 if study.vary == "data" else 1)


def _speed(contender: Contender, data: ImageDataset, execution: Execution) -> tuple[float, float]:
    """Seconds an image takes in training and in evaluation."""
    device = choose_device(execution.device)
    with users_code(f"{contender.model} fails in a probe of its speed"):
        return probe(contender, data, device, choose_precision(execution.precision, device))


def _seconds_of_run(
    study: Study, contender: Contender, data: ImageDataset, val_size: int, speed: tuple[float, float]
) -> float:
    training, looking = speed
    images = study.images_of_run(contender, len(data.train) - val_size)
    an_epoch = images * training * contender.recipe.pixels_shown(*data.image_shape[1:]) + val_size * looking
    return contender.recipe.epochs * an_epoch + (len(data.test) + val_size) * looking


def _bytes_of_run(contender: Contender, data: ImageDataset, val_size: int) -> float:
    """Of weights and predictions."""
    with global_stream(0, "probe"):
        model = build_model(contender.model, data.image_shape, data.num_classes)
    weights = math.fsum(tensor.nbytes for tensor in model.state_dict().values())
    return weights + (len(data.test) + val_size) * (4 * data.num_classes + 8)
