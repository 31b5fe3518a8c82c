"""How good each contender is, and at what cost: means and spreads over its finished runs."""

import statistics
from dataclasses import dataclass

from tiebreak.results.results import Measure, Results
from tiebreak.results.run import Cost, Run, log_likelihood


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A quantity over seeds."""

    mean: float
    sd: float | None  # sample standard deviation; None for a single seed
    values: tuple[float, ...]  # in the order of the plan's seeds


@dataclass(frozen=True, kw_only=True)
class ContenderSummary:
    """One contender over its finished seeds. Accuracies are fractions, losses means over images.

    What is not known of runs that were made elsewhere is None.
    """

    label: str
    recipe: str | None  # how it was trained, in words
    seeds: tuple[int, ...]
    failed: dict[int, str]  # seed -> reason
    missing: tuple[int, ...]  # seeds not run yet
    test_acc: Spread  # or the mean score, where scores are what was measured
    measure: Measure = Measure.CLASSES  # what test_acc is of
    train_acc: Spread | None = None  # of the last or kept epoch, measured while it ran
    val_acc: Spread | None = None  # after that epoch
    val_loss: Spread | None = None
    test_loss: Spread | None = None
    gap: Spread | None = None  # generalisation gap: train_acc - val_acc
    epochs: Spread | None = None  # that its runs trained
    train_seconds: Spread | None = None  # of a run's training epochs
    images_per_second: Spread | None = None  # while training
    cost: Cost | None = None


def spread(values: list[float]) -> Spread:
    """Mean and sample standard deviation of at least one value."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Spread(mean=statistics.fmean(values), sd=sd, values=tuple(values))


def summarise_contenders(results: Results) -> tuple[ContenderSummary, ...]:
    """One summary for each contender that has a run, in the order of the plan."""
    return tuple(_summarise(results, label) for label in results.labels)


def _summarise(results: Results, label: str) -> ContenderSummary:
    contender, truth = results.of(label), results.examples_of(label).truth
    runs = list(contender.runs.values())
    train_acc, val_acc, val_loss = (_last(runs, curve) for curve in ("train_acc", "val_acc", "val_loss"))
    timings = [run.timing for run in runs if run.timing]
    losses = [-float(log_likelihood(run.probs, truth).mean()) for run in runs if run.probs is not None]
    return ContenderSummary(
        label=label,
        recipe=contender.recipe,
        seeds=tuple(contender.runs),
        failed=contender.failed,
        missing=tuple(seed for seed in results.rule.seeds if not contender.ended(seed)),
        test_acc=spread([float(run.values(truth).mean()) for run in runs]),
        measure=results.measure,
        train_acc=_of_all(train_acc, runs),
        val_acc=_of_all(val_acc, runs),
        val_loss=_of_all(val_loss, runs),
        test_loss=_of_all(losses, runs),
        gap=_of_all([train - val for train, val in zip(train_acc, val_acc, strict=True)], runs),
        epochs=_of_all([float(len(run.history["val_acc"])) for run in runs if run.history], runs),
        train_seconds=_of_all([timing.train_seconds for timing in timings], runs),
        images_per_second=_of_all([timing.images_per_second for timing in timings], runs),
        cost=runs[0].cost,
    )


def _of_all(values: list[float], runs: list[Run]) -> Spread | None:
    """Their spread, if each run has one."""
    return spread(values) if len(values) == len(runs) else None


def _last(runs: list[Run], curve: str) -> list[float]:
    """The value of one curve after the epoch that was kept, a run each."""
    return [value for run in runs if (value := run.curve_at_end(curve)) is not None]
