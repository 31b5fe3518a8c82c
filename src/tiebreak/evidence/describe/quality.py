"""How good each contender is, and at what cost: means and spreads over its finished runs."""

import statistics
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from tiebreak.errors import StudyError
from tiebreak.models.cost import Cost
from tiebreak.study.store import RunRecord, StoredStudy


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A quantity over seeds."""

    mean: float
    sd: float | None  # sample standard deviation; None for a single seed
    values: tuple[float, ...]  # in the order of the plan's seeds


@dataclass(frozen=True, kw_only=True)
class ContenderSummary:
    """One contender over its finished seeds. Accuracies are fractions, losses means over images."""

    label: str
    seeds: tuple[int, ...]
    failed: dict[int, str]  # seed -> reason
    missing: tuple[int, ...]  # seeds not run yet
    train_acc: Spread  # of the last epoch, measured while it ran
    val_acc: Spread  # after the last epoch
    val_loss: Spread
    test_acc: Spread
    test_loss: Spread
    gap: Spread  # generalisation gap: train_acc - val_acc
    train_seconds: Spread  # of a run's training epochs
    images_per_second: Spread  # while training
    cost: Cost


def spread(values: list[float]) -> Spread:
    """Mean and sample standard deviation of at least one value."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Spread(mean=statistics.fmean(values), sd=sd, values=tuple(values))


def summarise_contenders(stored: StoredStudy) -> tuple[ContenderSummary, ...]:
    """One summary a contender, in the order of the plan.

    Raises: StudyError if a contender has no finished run.
    """
    return tuple(_summarise(stored, contender.label) for contender in stored.study.contenders)


def _summarise(stored: StoredStudy, label: str) -> ContenderSummary:
    finished = stored.finished(label)
    failed = {seed: run.reason or "" for seed, run in stored.runs[label].items() if run.status == "failed"}
    if not finished:
        reason = f": {next(iter(failed.values()))}" if failed else ""
        raise StudyError(f"{stored.folder}: no run of {label} has finished{reason}.")
    runs = list(finished.values())
    train_acc, val_acc, val_loss = (_last(runs, curve) for curve in ("train_acc", "val_acc", "val_loss"))
    timings = [run.timing for run in runs if run.timing]
    cost = runs[0].cost
    if cost is None or len(timings) < len(runs):
        raise StudyError(f"{stored.folder}: a finished run of {label} lacks its cost or timing.")
    return ContenderSummary(
        label=label,
        seeds=tuple(finished),
        failed=failed,
        missing=tuple(seed for seed in stored.study.seeds if seed not in stored.runs[label]),
        train_acc=spread(train_acc),
        val_acc=spread(val_acc),
        val_loss=spread(val_loss),
        test_acc=spread([run.test_acc for run in runs if run.test_acc is not None]),
        test_loss=spread([run.test_loss for run in runs if run.test_loss is not None]),
        gap=spread([train - val for train, val in zip(train_acc, val_acc, strict=True)]),
        train_seconds=spread([timing.train_seconds for timing in timings]),
        images_per_second=spread([timing.images_per_second for timing in timings]),
        cost=cost,
    )


def _last(runs: list[RunRecord], curve: str) -> list[float]:
    """The last epoch's value of one curve, a run each."""
    return [run.history[curve][-1] for run in runs if run.history]  # type: ignore[literal-required]


def correct_on_test(stored: StoredStudy, label: str) -> dict[int, Bool[np.ndarray, " example"]]:
    """Which test images each finished seed of a contender got right, by seed."""
    correct = {}
    for seed in stored.finished(label):
        predictions = stored.predictions(label, seed)
        correct[seed] = predictions.test_probs.argmax(axis=1) == predictions.test_labels
    return correct
