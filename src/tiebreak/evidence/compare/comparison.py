"""The difference between two contenders over seeds and test images, with its interval; `pair` computes it."""

from dataclasses import dataclass, replace
from enum import StrEnum

from scipy.special import chdtri

from tiebreak.evidence.compare.interval import (
    Part,
    check_level,
    half_width,
    p_value,
)
from tiebreak.evidence.describe.collapse import Collapse


class Method(StrEnum):
    """Where an interval came from, and so what it is about."""

    CROSSED = "crossed"  # new seeds and new test images
    UNPAIRED = "unpaired"  # the same, where the seeds of a and b have nothing in common
    FIXED_TEST_SET = "fixed_test_set"  # new seeds on this very test set
    ONE_SEED = "one_seed"  # new test images for these two checkpoints; says nothing about other seeds
    CHECKPOINTS = "checkpoints"  # the same, where these two checkpoints are what is asked about
    FOLDS = "folds"  # new training images, by the folds of a cross-validation


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A difference a minus b in 0..1 (not points), its interval, and where the uncertainty comes from."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    level: float  # of ci_low .. ci_high
    method: Method
    centre: float  # of the interval: the difference, which for one seed pseudo-images move towards 0
    parts: tuple[Part, ...]  # what the interval counts
    seed_variance: float | None  # A; None where one seed cannot show it
    test_variance: float  # B
    data_variance: float | None = None  # V: from the choice of training images; None: it is not counted
    other_data: bool = False  # whether the interval is about other training images, too
    test_error: float | None = None  # standard error of B
    n_seeds: int  # pairs; for unpaired seeds, those of the contender that has fewer
    seeds_a_search: int = 1  # whose scores were averaged, if more: then `n_seeds` counts searches
    n_examples: int
    n_groups: int | None = None  # set where examples were taken in groups, which then count as the examples
    lowest: float | None  # no score leaves lowest .. highest; None: a loss
    highest: float | None
    pair_correlation: float | None = None  # of the accuracies of a and b over the seeds: did pairing help?
    seed_differences: tuple[float, ...]  # one per pair; empty for unpaired seeds
    collapsed: tuple[Collapse, ...] = ()
    missing_seeds: tuple[int, ...] = ()  # seeds left out because only one of the two has them

    @property
    def units(self) -> int:
        """What counts as a test example: one, or a group of them."""
        return self.n_groups or self.n_examples

    @property
    def seed_share(self) -> tuple[float, float] | None:
        """Between which ends A / (A + B) lies with 90%, as the spread of so few seeds leaves it open.

        None where A or B is unknown or nothing, or two contenders' seeds each have their own.
        """
        if not self.seed_variance or not self.test_variance or self.method is Method.UNPAIRED:
            return None
        df = self.n_seeds - 1
        low, high = (self.seed_variance * df / float(chdtri(df, tail)) for tail in (0.05, 0.95))
        return low / (low + self.test_variance), high / (high + self.test_variance)


def compare_parts(
    difference: float,
    seeds: tuple[Part, ...],
    images: Part,
    *,
    method: Method,
    level: float,
    n_seeds: int,
    n_examples: int,
    n_groups: int | None = None,
    bound: float | None,
    seed_differences: tuple[float, ...] = (),
) -> Comparison:
    """A comparison from a difference and what its uncertainty is made of; no seeds where there is but one."""
    check_level(level)
    return comparison_of(
        Found(method=method, difference=difference, centre=difference, seeds=seeds, images=images),
        level=level,
        n_seeds=n_seeds,
        n_examples=n_examples,
        n_groups=n_groups,
        lowest=None if bound is None else -bound,
        highest=bound,
        seed_differences=seed_differences,
    )


def with_data_part(comparison: Comparison, variance: float, df: int) -> Comparison:
    """The comparison with the choice of training images counted, too: `variance` of the difference.

    As the test images' part it does not shrink with seeds: all of them draw from one pool.
    """
    *seeds, images = comparison.parts
    parts = (*seeds, Part(variance=variance, df=df), images)
    low, high = _interval(comparison.centre, parts, comparison.level, comparison.lowest, comparison.highest)
    p = p_value(comparison.centre, *parts)
    return replace(
        comparison,
        parts=parts,
        ci_low=low,
        ci_high=high,
        p_value=p,
        data_variance=variance,
        other_data=True,
    )


def interval_at(comparison: Comparison, level: float) -> tuple[float, float]:
    """The interval of the same data at another level, clipped to what the score can be."""
    check_level(level)
    return _interval(comparison.centre, comparison.parts, level, comparison.lowest, comparison.highest)


def p_value_at(comparison: Comparison, distance: float) -> float:
    """The two-sided p-value of a difference that lies `distance` from where the null hypothesis puts it."""
    return p_value(distance, *comparison.parts)


def at_level(comparison: Comparison, level: float) -> Comparison:
    """The same comparison with its interval at another level."""
    low, high = interval_at(comparison, level)
    return replace(comparison, ci_low=low, ci_high=high, level=level)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A mean and what its uncertainty is made of."""

    method: Method
    difference: float
    centre: float
    seeds: tuple[Part, ...]  # none with one seed
    images: Part
    test_error: float | None = None


def comparison_of(
    found: Found,
    *,
    level: float,
    n_seeds: int,
    n_examples: int,
    n_groups: int | None = None,
    lowest: float | None,
    highest: float | None,
    seed_differences: tuple[float, ...],
) -> Comparison:
    """Fill in what follows from the parts: the interval and the p-value."""
    parts = found.seeds if found.method is Method.FIXED_TEST_SET else (*found.seeds, found.images)
    low, high = _interval(found.centre, parts, level, lowest, highest)
    return Comparison(
        difference=found.difference,
        ci_low=low,
        ci_high=high,
        p_value=p_value(found.centre, *parts),
        level=level,
        method=found.method,
        centre=found.centre,
        parts=parts,
        seed_variance=sum(part.variance for part in found.seeds) if found.seeds else None,
        test_variance=found.images.variance,
        test_error=found.test_error,
        n_seeds=n_seeds,
        n_examples=n_examples,
        n_groups=n_groups,
        lowest=lowest,
        highest=highest,
        seed_differences=seed_differences,
    )


def _interval(
    centre: float, parts: tuple[Part, ...], level: float, lowest: float | None, highest: float | None
) -> tuple[float, float]:
    reach = half_width(1 - level, *parts)
    low, high = centre - reach, centre + reach
    return low if lowest is None else max(low, lowest), high if highest is None else min(high, highest)
