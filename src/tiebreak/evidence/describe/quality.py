"""How good each contender is, and at what cost: means and spreads over its finished runs."""

import statistics
from dataclasses import dataclass

from tiebreak.errors import EvidenceError
from tiebreak.results.results import Results
from tiebreak.results.run import Cost, Run, log_likelihood


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
    recipe: str | None  # how it was trained, in words
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


def summarise_contenders(results: Results) -> tuple[ContenderSummary, ...]:
    """One summary for each contender that has a run, in the order of the plan."""
    return tuple(_summarise(results, label) for label in results.labels)


def _summarise(results: Results, label: str) -> ContenderSummary:
    contender, truth = results.of(label), results.examples.truth
    runs = list(contender.runs.values())
    train_acc, val_acc, val_loss = (_last(runs, curve) for curve in ("train_acc", "val_acc", "val_loss"))
    timings = [run.timing for run in runs if run.timing]
    cost = runs[0].cost
    if cost is None or len(timings) < len(runs):
        raise EvidenceError(f"{results.source}: a finished run of {label} lacks its cost or timing.")
    return ContenderSummary(
        label=label,
        recipe=contender.recipe,
        seeds=tuple(contender.runs),
        failed=contender.failed,
        missing=tuple(seed for seed in results.rule.seeds if not contender.ended(seed)),
        train_acc=spread(train_acc),
        val_acc=spread(val_acc),
        val_loss=spread(val_loss),
        test_acc=spread([float(run.correct(truth).mean()) for run in runs]),
        test_loss=spread(
            [-float(log_likelihood(run.probs, truth).mean()) for run in runs if run.probs is not None]
        ),
        gap=spread([train - val for train, val in zip(train_acc, val_acc, strict=True)]),
        train_seconds=spread([timing.train_seconds for timing in timings]),
        images_per_second=spread([timing.images_per_second for timing in timings]),
        cost=cost,
    )


def _last(runs: list[Run], curve: str) -> list[float]:
    """The last epoch's value of one curve, a run each."""
    return [run.history[curve][-1] for run in runs if run.history]  # type: ignore[literal-required]
