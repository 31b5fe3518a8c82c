"""What searching brought each contender: the accuracy that so many trials buy.

The expected accuracy of the best of k trials is computed in each seed over all subsets of its trials (Dodge
et al. 2019, arXiv:1909.03004, without replacement), then averaged. The bands are those of Lourie, Cho and He
2024 (arXiv:2311.09480): a band for the distribution of one trial's accuracy that holds everywhere at once,
exactly (Kolmogorov-Smirnov), carried over to the best of k.

Shape letters: T trials of a search, n trials in all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from tiebreak.results.results import Results
from tiebreak.results.run import Trial, Tuned


@dataclass(frozen=True, kw_only=True)
class TuningCurve:
    """What the best of 1, 2, ... T trials of a contender reaches, chosen by validation accuracy."""

    label: str
    test_acc: tuple[float, ...]  # expected, at each number of trials; mean over the searches
    val_acc: tuple[float, ...]
    val_low: tuple[float, ...]  # band for the best by validation accuracy, at all numbers of trials at once
    val_high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Searches:
    """All searches of one contender."""

    label: str
    found: tuple[Tuned, ...]  # one a search
    curve: TuningCurve | None  # None where trials were stopped early, or have failed

    @property
    def seconds(self) -> float:
        """That all trials were trained."""
        return sum(trial.seconds for search in self.found for trial in search.trials)

    @property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(trial for search in self.found for trial in search.trials)


def searches_of(results: Results, label: str) -> Searches | None:
    """The searches behind a contender's runs; None if it was not tuned."""
    runs = results.of(label).runs.values()
    found = tuple(run.tuned for run in runs if run.tuned and run.tuned.trials)
    if not found:
        return None
    return Searches(label=label, found=found, curve=tuning_curve(label, found, results.rule.level))


def tuning_curve(label: str, searches: Sequence[Tuned], level: float = 0.95) -> TuningCurve | None:
    """The curve over searches of equally many trials, all trained to the end; else None."""
    trials = [trial for search in searches for trial in search.trials]
    if any(trial.test_acc is None for trial in trials):
        return None
    val, loss, test = (
        np.array([getattr(trial, name) for trial in trials], dtype=np.float64).reshape(len(searches), -1)
        for name in ("val_acc", "val_loss", "test_acc")
    )
    # The order in which a search prefers them, the best last: of equal ones the first (`study/tuning.py`).
    order = np.array([np.lexsort((-np.arange(len(a)), -b, a)) for a, b in zip(val, loss, strict=True)])
    val_in_order, test_in_order = (np.take_along_axis(each, order, axis=1) for each in (val, test))
    low, high = best_of_bands(val.ravel(), val.shape[1], level)
    return TuningCurve(
        label=label,
        test_acc=tuple(np.mean([best_of(row) for row in test_in_order], axis=0).tolist()),
        val_acc=tuple(np.mean([best_of(row) for row in val_in_order], axis=0).tolist()),
        val_low=tuple(low.tolist()),
        val_high=tuple(high.tolist()),
    )


def best_of(ordered: Float64[np.ndarray, " T"]) -> Float64[np.ndarray, " T"]:
    """The expected value of the best of k of the trials, k = 1 ... T; they come worst first."""
    count = len(ordered)
    # The i-th lowest is the best of k if the others are among the i below it: C(i, k - 1) of C(T, k) subsets.
    return np.array(
        [
            sum(math.comb(below, k - 1) * one for below, one in enumerate(ordered.tolist()))
            / math.comb(count, k)
            for k in range(1, count + 1)
        ]
    )


def best_of_bands(
    values: Float64[np.ndarray, " n"],
    most: int,
    level: float = 0.95,
    lowest: float = 0.0,
    highest: float = 1.0,
) -> tuple[Float64[np.ndarray, " most"], Float64[np.ndarray, " most"]]:
    """Between which ends the mean of the best of k lies, for k = 1 ... `most` at once, at that level."""
    from scipy.stats import kstwo  # a second to import, and only searches need it

    ordered, count = np.sort(values), len(values)
    reach, steps = float(kstwo(count).ppf(level)), np.arange(1, count + 1) / count

    def mean_of_best(points: np.ndarray, cumulative: np.ndarray, k: int) -> float:
        return float(points @ np.diff(cumulative**k, prepend=0.0))

    low_points, low_steps = np.r_[lowest, ordered], np.minimum(np.r_[0.0, steps] + reach, 1.0)
    high_points, high_steps = np.r_[ordered, highest], np.r_[np.maximum(steps - reach, 0.0), 1.0]
    numbers = range(1, most + 1)
    low = np.array([mean_of_best(low_points, low_steps, k) for k in numbers])
    return low, np.array([mean_of_best(high_points, high_steps, k) for k in numbers])


def compare_curves(a: TuningCurve, b: TuningCurve) -> str:
    """Who leads in test accuracy at which number of trials: "cnn leads at every budget from 1 trial"."""
    if len(a.test_acc) != len(b.test_acc):
        return ""
    ahead = np.sign(np.round(np.subtract(a.test_acc, b.test_acc), 12))
    leader = {1: a.label, -1: b.label, 0: ""}[int(ahead[0])]
    changes = np.flatnonzero(ahead != ahead[0])
    if not leader:
        return f"{a.label} and {b.label} are level after 1 trial"
    if len(changes) == 0:
        return f"{leader} leads at every budget from 1 trial to {len(ahead)}"
    other = b.label if leader == a.label else a.label
    return f"{leader} leads from 1 trial, {other} catches up at {int(changes[0]) + 1}"
