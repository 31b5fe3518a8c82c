"""Accuracy against what training costs: which contenders nobody beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tiebreak.evidence.compare.interval import t_quantile
from tiebreak.evidence.compare.pair import compare_scores
from tiebreak.results.results import ContenderRuns, Results


class CostOf(StrEnum):
    """What is counted as the cost of a run."""

    SECONDS = "seconds"  # of training
    FLOPS = "flops"  # of training


class Place(StrEnum):
    """Where a contender stands."""

    FRONT = "front"  # by the means, none is as cheap and as accurate
    NEAR = "near"  # beaten by the means, but by none whose interval of accuracy lies above its own
    BEHIND = "behind"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean with its interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A contender of a study: how accurate, over seeds and test images, at what cost, over seeds."""

    label: str
    study: str
    seeds: int
    accuracy: Estimate
    cost: Estimate


def candidate(
    results: Results, contender: ContenderRuns, study: str, flops: float | None
) -> Candidate | None:
    """A contender with its intervals; None without runs or what they cost.

    `flops`: of its training; None: the seconds of its runs are the cost.
    """
    rows = results.correct(contender.label)
    seconds = [run.timing.train_seconds for run in contender.runs.values() if run.timing]
    if not rows or (flops is None and len(seconds) < len(rows)):
        return None
    right = np.stack(list(rows.values())).astype(float)
    found = compare_scores(right, bound=1.0, lowest=0.0, level=results.rule.level)
    return Candidate(
        label=contender.label,
        study=study,
        seeds=len(right),
        accuracy=Estimate(mean=found.difference, low=found.ci_low, high=found.ci_high),
        cost=_over_seeds(seconds if flops is None else [flops], results.rule.level),
    )


def _over_seeds(values: Sequence[float], level: float) -> Estimate:
    """The mean and its t interval; as wide as nothing where there is one value."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Estimate(mean=mean, low=mean, high=mean)
    reach = float(t_quantile((1 - level) / 2, count - 1)) * float(np.std(values, ddof=1)) / count**0.5
    return Estimate(mean=mean, low=max(mean - reach, 0.0), high=mean + reach)


def places(candidates: Sequence[Candidate]) -> tuple[Place, ...]:
    """Where each stands among them."""
    return tuple(_place(one, candidates) for one in candidates)


def _place(one: Candidate, candidates: Sequence[Candidate]) -> Place:
    better = [
        other
        for other in candidates
        if other.cost.mean <= one.cost.mean
        and other.accuracy.mean >= one.accuracy.mean
        and (other.cost.mean, other.accuracy.mean) != (one.cost.mean, one.accuracy.mean)
    ]
    if not better:
        return Place.FRONT
    shown = any(other.accuracy.low > one.accuracy.high for other in better)
    return Place.BEHIND if shown else Place.NEAR
