"""How many seeds and epochs fit into a time: measured on a short probe of each model."""

import re
import time
from collections.abc import Iterable

import torch

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import StudyError
from tiebreak.models.catalog import build_model
from tiebreak.models.users_code import users_code
from tiebreak.rng import global_stream, stream
from tiebreak.settings import Settings
from tiebreak.study.plan import Contender
from tiebreak.training.loop import predict, train_steps
from tiebreak.training.placement.placement import Precision
from tiebreak.training.placement.precision import choose_placement, computing, prepare_batches, prepare_model
from tiebreak.training.recipe.optimiser import make_criterion, make_optimizer
from tiebreak.training.run import EVAL_BATCH_SIZE

DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
PROBE_SECONDS = 1.0  # of training steps, a model
PROBE_STEPS = 3  # at least; one more before them is not counted
MOST_SEEDS = 10
ENOUGH_SEEDS = 3  # fewer say little about the luck of the seed: epochs are given up first
RESERVE = 0.1  # of the budget, for what the probe does not see


class Pick(Settings):
    """What a budget allows, and how long that should take."""

    budget_seconds: float
    seeds: int
    epochs: int
    expected_seconds: float

    def __str__(self) -> str:
        late = "" if self.expected_seconds <= self.budget_seconds else ", which is over it"
        seeds = f"{self.seeds} seed{'s' if self.seeds > 1 else ''}"
        epochs = f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}"
        return (
            f"Budget {_clock(self.budget_seconds)}: picked {seeds} and {epochs}, "
            f"about {_clock(self.expected_seconds)} in all{late}."
        )


def parse_budget(text: str) -> float:
    """Seconds in "90s", "10m" or "1h30m".

    Raises: StudyError if the text is nothing of the kind.
    """
    match = DURATION.fullmatch(text.strip())
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if total <= 0:
        raise StudyError(f"--budget must be a time such as 90s, 10m or 1h30m, got {text!r}.")
    return float(total)


def seconds_of_seed(
    contenders: Iterable[Contender],
    data: ImageDataset,
    val_size: int,
    device: torch.device,
    precision: Precision,
) -> tuple[float, float]:
    """Seconds that one seed of all contenders takes: (an epoch of the plain recipe, what comes on top once).

    They are seconds of one run after another. A contender with a fraction of the images has as many more
    epochs, so its steps are the same; its evaluations are not.
    """
    train_images = len(data.train) - val_size
    probes: dict[str, tuple[float, float]] = {}
    an_epoch = once = 0.0
    for contender in contenders:
        if contender.model not in probes:
            with users_code(f"{contender.model} fails in a probe of its speed"):
                probes[contender.model] = probe(contender, data, device, precision)
        training, looking = probes[contender.model]
        an_epoch += train_images * training + val_size * looking / contender.train_fraction
        once += len(data.test) * looking
    return an_epoch, once


def probe(
    contender: Contender, data: ImageDataset, device: torch.device, precision: Precision
) -> tuple[float, float]:
    """Seconds an image takes in training and in evaluation, on a few batches, prepared as in a run."""
    recipe = contender.recipe
    with global_stream(0, "probe"):
        model = build_model(contender.model, data.image_shape, data.num_classes)
    placement = choose_placement(model, data.image_shape, device, precision)
    model = prepare_model(model, placement)
    batches = data.train.batches(recipe.batch_size, shuffle=True, generator=stream(0, "probe"))
    batches = prepare_batches(batches, placement)
    criterion, optimizer = make_criterion(recipe), make_optimizer(recipe, model)
    with global_stream(0, "dropout"), computing(placement):
        steps = train_steps(model, batches, criterion, optimizer, device)
        next(steps)
        started, images = time.perf_counter(), 0
        for number, running in enumerate(steps, start=1):
            images = running.samples
            if number >= PROBE_STEPS and time.perf_counter() - started > PROBE_SECONDS:
                break
        first = min(recipe.batch_size, len(data.train))
        # A part smaller than two batches is over at once; its one batch is all there is to time.
        training = (time.perf_counter() - started) / max(images - first, 1)
        few = [next(iter(prepare_batches(data.test.batches(EVAL_BATCH_SIZE), placement)))]
        started = time.perf_counter()
        predict(model, few, device)
    return training, (time.perf_counter() - started) / len(few[0][1])


def pick(budget: float, an_epoch: float, once: float, epochs: int) -> Pick:
    """Seeds and epochs for a budget, all in seconds: as many seeds as fit with all epochs, at least three.

    If three do not fit, three with fewer epochs; if not one epoch fits, fewer seeds; at least one of both.
    """
    usable = (1 - RESERVE) * budget
    a_seed = epochs * an_epoch + once
    seeds = min(MOST_SEEDS, int(usable / a_seed))
    if seeds < ENOUGH_SEEDS:
        allowed = {fewer: int((usable / fewer - once) / an_epoch) for fewer in range(ENOUGH_SEEDS, 0, -1)}
        seeds = next((fewer for fewer, possible in allowed.items() if possible >= 1), 1)
        epochs = min(epochs, max(1, allowed[seeds]))
    return Pick(
        budget_seconds=budget,
        seeds=seeds,
        epochs=epochs,
        expected_seconds=seeds * (epochs * an_epoch + once),
    )


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
