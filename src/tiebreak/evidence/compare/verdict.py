"""What a comparison entitles one to say, and what to buy where it says nothing yet."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import ndtri

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Comparison, Method, interval_at, p_value_at
from tiebreak.evidence.compare.power import detectable_difference, detectable_factor
from tiebreak.evidence.compare.predict import chance_of_deciding

POWER = 0.8  # advice is for the number that would decide in four of five studies
EVEN_ODDS = 0.5
MOST_SEEDS, MOST_IMAGES = 10, 200  # times what there is: beyond it, no number is named


class Outcome(StrEnum):
    """The four things a verdict can be."""

    A_BETTER = "a better"
    B_BETTER = "b better"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


class Need(StrEnum):
    """What would decide it."""

    NOTHING = "nothing"
    NEXT_LOOK = "the next look"  # of a study that trains seeds until it is decided
    MORE_SEEDS = "more seeds"
    MORE_IMAGES = "more test images"
    MORE_DATA = "more data"  # of a cross-validation: its folds share their training images
    A_MARGIN = (
        "an equivalence margin"  # the difference is so near 0 that only "equivalent within D" can be shown
    )


@dataclass(frozen=True, kw_only=True)
class NextStep:
    """What to buy, and about how much of it in all (not in addition); None where no number is reasonable."""

    need: Need
    total: int | None = None
    seeds: int | None = None  # in all, on the same test images ...
    chance: float | None = None  # ... and the probability that they decide it


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """An outcome with what it rests on."""

    outcome: Outcome
    comparison: Comparison
    margin: float | None  # declared before looking
    negligible: bool  # a better one was found, but by less than the margin
    relevant: bool  # a better one was found, by more than the margin
    p_value: float  # that decided: the comparison's, or adjusted for several
    n_comparisons: int
    equivalence_low: float | None  # the 1 - 2 alpha interval, which the two one-sided tests ask about
    equivalence_high: float | None
    equivalence_level: float | None  # of that interval
    p_equivalence: float | None
    next_step: NextStep
    detectable: float | None = None  # the smallest true difference that would probably (80%) have been shown
    superiority: float | None = (
        None  # a better one was to be better by at least this; declared before looking
    )
    superior: bool = False  # a better one was found, and that it is better by at least that

    @property
    def shown_smaller(self) -> bool:
        """Whether the whole interval says that the difference is below what was asked for."""
        nearest = max(abs(self.comparison.ci_low), abs(self.comparison.ci_high))
        return self.superiority is not None and nearest < self.superiority


def judge(
    comparison: Comparison,
    *,
    equivalence: float | None = None,
    p_adjusted: float | None = None,
    n_comparisons: int = 1,
    p_equivalence_adjusted: float | None = None,
    superiority: float | None = None,
    p_superiority_adjusted: float | None = None,
) -> Verdict:
    """Decide at the comparison's own level: a better, b better, equivalent within the margin, or undecided.

    Equivalence is two one-sided tests (Schuirmann 1987) at alpha: the 1 - 2 alpha interval lies inside the
    margin. One seed decides nothing. Of several comparisons, give the adjusted p-values and their number.
    `superiority`: whether the better one is better by at least so much is told, too.

    Raises: EvidenceError unless the margins are positive.
    """
    for name, value in (("an equivalence margin", equivalence), ("a superiority margin", superiority)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise EvidenceError(f"{name} must be above 0 (0.01 is one point), got {value:g}.")
    alpha = 1 - comparison.level
    p = comparison.p_value if p_adjusted is None else p_adjusted
    p_alike = None if equivalence is None else equivalence_p(comparison, equivalence)
    if p_equivalence_adjusted is not None:
        p_alike = p_equivalence_adjusted
    # alpha of a half is all there is to ask one-sidedly: levels below 50% have no wider interval to look at.
    inner = None if equivalence is None else max(1 - 2 * alpha, 1e-9)
    low, high = (None, None) if inner is None else interval_at(comparison, inner)
    inside = p_alike is not None and p_alike <= alpha
    differs = comparison.method is not Method.ONE_SEED and p <= alpha
    if differs:
        outcome = Outcome.A_BETTER if comparison.difference > 0 else Outcome.B_BETTER
    elif inside and comparison.method is not Method.ONE_SEED:
        outcome = Outcome.EQUIVALENT
    else:
        outcome = Outcome.UNDECIDED
    step = NextStep(need=Need.NOTHING)
    if outcome is Outcome.UNDECIDED:
        step = next_step(comparison, equivalence, n_comparisons)
    p_more = p_superiority_adjusted
    if superiority is not None and p_more is None:
        p_more = superiority_p(comparison, superiority)
    nearest = max(comparison.ci_low, -comparison.ci_high)  # how far from 0 the interval begins
    return Verdict(
        outcome=outcome,
        comparison=comparison,
        margin=equivalence,
        negligible=differs and inside,
        relevant=differs and equivalence is not None and nearest >= equivalence,
        p_value=p,
        n_comparisons=n_comparisons,
        equivalence_low=low,
        equivalence_high=high,
        equivalence_level=inner,
        p_equivalence=p_alike,
        next_step=step,
        detectable=detectable_difference(comparison, n_comparisons),
        superiority=superiority,
        superior=differs and p_more is not None and p_more <= alpha,
    )


def next_step(
    comparison: Comparison,
    margin: float | None = None,
    n_comparisons: int = 1,
    *,
    seeds_may_help: bool = True,
) -> NextStep:
    """What would decide it with a chance of 80%.

    More seeds, if up to ten times as many do (or at least are as likely to as not): that is about the images
    there are. Else more images, if the difference is truly the one seen: either showing it or (with a margin)
    showing that it lies inside. Images alone are named where a rule has found seeds to be futile.
    """
    if comparison.method is Method.FOLDS:
        return NextStep(need=Need.MORE_DATA)
    if comparison.method is Method.CHECKPOINTS:
        images = min(
            _images(0.0, comparison.test_variance, *route)
            for route in _routes(comparison, margin, n_comparisons)
        )
        few = images <= MOST_IMAGES
        return NextStep(
            need=Need.MORE_IMAGES, total=_two_digits(images * comparison.n_examples) if few else None
        )
    if comparison.seed_variance is None or comparison.n_seeds == 2:
        return NextStep(need=Need.MORE_SEEDS, total=3)
    n, m = comparison.n_seeds, comparison.n_examples
    seeds = np.arange(n + 1, MOST_SEEDS * n + 1)
    chances = chance_of_deciding(comparison, seeds, margin, n_comparisons)
    enough = chances >= POWER
    best = int(enough.argmax()) if enough.any() else -1
    total, chance = int(seeds[best]), float(chances[best])
    if seeds_may_help and (enough.any() or chance >= EVEN_ODDS):
        return NextStep(need=Need.MORE_SEEDS, total=total, seeds=total, chance=chance)
    test_variance = 0.0 if comparison.method is Method.FIXED_TEST_SET else comparison.test_variance
    routes = _routes(comparison, margin, n_comparisons)
    fixed = comparison.seed_variance + (comparison.data_variance or 0.0)
    images = min(_images(fixed, test_variance, distance, c) for distance, c in routes)
    if test_variance > 0 and images <= MOST_IMAGES:
        many = max(_two_digits(images * m), m + 1)
        return NextStep(need=Need.MORE_IMAGES, total=many, seeds=total, chance=chance)
    need = Need.A_MARGIN if margin is None else Need.MORE_SEEDS if seeds_may_help else Need.MORE_IMAGES
    return NextStep(need=need, seeds=total, chance=chance)


def equivalence_p(comparison: Comparison, margin: float) -> float:
    """The p-value of "equivalent within margin": the larger of two one-sided ones (Holm for several)."""
    distance = margin - abs(comparison.difference)
    p = p_value_at(comparison, distance) / 2
    return p if distance > 0 else 1 - p


def superiority_p(comparison: Comparison, margin: float) -> float:
    """The two-sided p-value of "the difference is no more than the margin"; 1 where it is seen to be so."""
    distance = abs(comparison.difference) - margin
    return p_value_at(comparison, distance) if distance > 0 else 1.0


def _routes(comparison: Comparison, margin: float | None, n_comparisons: int) -> list[tuple[float, float]]:
    """(distance to be bridged, squared factor of standard errors) for difference and equivalence."""
    level = 1 - (1 - comparison.level) / n_comparisons
    routes = [(abs(comparison.difference), detectable_factor(level, POWER) ** 2)]
    room = -1.0 if margin is None else margin - abs(comparison.difference)
    if room > 0:
        # Both one-sided tests must pass; with the difference near 0 each is at risk of half of the misses.
        routes.append((room, float(ndtri(level) + ndtri((1 + POWER) / 2)) ** 2))
    return routes


def _images(seed_variance: float, test_variance: float, distance: float, c: float) -> float:
    """How many times the test set, with these seeds; by rule of thumb where the seeds are too few as well."""
    room = distance**2 - c * seed_variance
    if room > 0:
        return max(c * test_variance / room, 1.0)
    return (
        max(1.5 * c * test_variance / distance**2, 1.0) if c * test_variance >= distance**2 > 0 else math.inf
    )


def _two_digits(number: float) -> int:
    unit = 10.0 ** max(math.floor(math.log10(number)) - 1, 0)
    return int(math.ceil(number / unit) * unit)
