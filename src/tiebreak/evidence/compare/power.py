"""How many seeds, and what this test set can ever show: power before the money is spent.

Two numbers describe a setting. `seed_sd` is the standard deviation, over seeds, of one pair's difference;
`test_sd` is the standard error that the test set alone leaves, sqrt(B), however many seeds there are.
Both are shares (0.01 is one point) and come from a pilot, or `test_sd` from `bound_test_sd`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.special import chdtri, ndtr, ndtri

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Comparison, Method
from tiebreak.evidence.compare.interval import FLOOR_ERRORS, check_level, t_quantile
from tiebreak.evidence.compare.sequential import TEST_SPLIT, SequentialPlan

MAX_SEEDS = 1_000  # "no number of seeds": beyond what anyone trains
QUANTILE_POINTS = 2_000


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What to plan for."""

    seed_sd: float
    test_sd: float
    level: float = 0.95
    comparisons: int = 1  # pairs decided on together; each gets alpha / comparisons
    sequential: SequentialPlan | None = None  # its split of alpha instead of one look (its level is not read)

    def __post_init__(self) -> None:
        check_level(self.level)
        if not (self.seed_sd >= 0 and self.test_sd >= 0 and math.isfinite(self.seed_sd + self.test_sd)):
            raise EvidenceError(
                "standard deviations must be 0 or more, "
                f"got {self.seed_sd:g} (seeds) and {self.test_sd:g} (test set)."
            )
        if self.comparisons < 1:
            raise EvidenceError(f"a plan needs at least 1 comparison, got {self.comparisons}.")


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The answer to "how many seeds for this difference?"."""

    difference: float
    power_wanted: float
    seeds: int | None  # None: no number of seeds suffices on this test set
    power: float | None  # at that number
    smallest_difference: float  # what this test set can ever show with that power, with seeds without end
    test_set_factor: float  # how many times its images would do, by rule of thumb (1.0 where it suffices)


def setting_from_pilot(
    pilot: Comparison,
    *,
    level: float = 0.95,
    comparisons: int = 1,
    sequential: SequentialPlan | None = None,
    inflate: bool = True,
) -> Setting:
    """The setting that a finished comparison shows, its seed SD inflated as too few seeds call for.

    B is estimated as 0 in a third of pilots of two seeds; it is taken to be at least what such an estimate
    does not exclude.

    Of unpaired seeds, `n` is those of the contender that has fewer: a plan for as many of each.

    Raises: EvidenceError with one seed, or of a cross-validation.
    """
    if pilot.seed_variance is None or pilot.n_seeds < 2 or pilot.method is Method.FOLDS:
        raise EvidenceError(
            f"a pilot needs at least 2 seeds of both contenders, got {pilot.n_seeds} ({pilot.method})."
        )
    seed_sd = math.sqrt(pilot.seed_variance * pilot.n_seeds)
    return Setting(
        seed_sd=inflate_pilot(seed_sd, pilot.n_seeds) if inflate else seed_sd,
        test_sd=math.sqrt(
            max(pilot.test_variance, FLOOR_ERRORS * (pilot.test_error or 0.0)) + (pilot.data_variance or 0.0)
        ),
        level=level,
        comparisons=comparisons,
        sequential=sequential,
    )


def inflate_pilot(seed_sd: float, n_pilot: int) -> float:
    """A seed SD that is large enough in four of five pilots: an SD of few seeds is often too small.

    >>> round(inflate_pilot(1.0, 3), 1), round(inflate_pilot(1.0, 5), 1)
    (2.1, 1.6)
    """
    if n_pilot < 2:
        raise EvidenceError(f"a standard deviation needs at least 2 pilot seeds, got {n_pilot}.")
    return seed_sd * math.sqrt((n_pilot - 1) / float(chdtri(n_pilot - 1, 0.8)))  # chdtri takes the upper tail


def bound_test_sd(disagreement: float, difference: float, n_examples: int) -> float:
    """The most that sqrt(B) can be, if one of the two alone is right on a share `disagreement` of the images.

    In simulated pairs of 95% accuracy the true value was about 0.4 times the bound of B, 0.6 times this.

    Raises: EvidenceError unless 0 <= difference <= disagreement <= 1.
    """
    if not 0 <= difference <= disagreement <= 1 or n_examples < 1:
        raise EvidenceError(
            "the share of images that only one of the two gets right is at least the difference, "
            f"got {disagreement:g} and {difference:g}."
        )
    return math.sqrt((disagreement - difference**2) / n_examples)


def power(setting: Setting, n_seeds: int, difference: float) -> float:
    """The probability that the interval excludes 0 if this is the true difference."""
    reach, spread = _reach(setting, n_seeds, 1 - setting.level), _spread(setting, n_seeds)
    return float(np.mean(_phi(-reach - difference, spread) + 1 - _phi(reach - difference, spread)))


def equivalence_power(setting: Setting, n_seeds: int, margin: float, difference: float = 0.0) -> float:
    """The probability of "equivalent within margin" (two one-sided tests), if this is the true difference."""
    alpha = 1 - setting.level
    # A repeated interval shares its alpha between both claims; one look may use 1 - 2 alpha.
    reach = _reach(setting, n_seeds, alpha if setting.sequential else 2 * alpha)
    spread = _spread(setting, n_seeds)
    inside = _phi(margin - reach - difference, spread) - _phi(-margin + reach - difference, spread)
    return float(np.mean(np.maximum(inside, 0.0)))


def power_curve(setting: Setting, seeds: Int[np.ndarray, " n"], difference: float) -> Float[np.ndarray, " n"]:
    """`power` at each number of seeds (2 or more)."""
    return np.array([power(setting, int(n), difference) for n in seeds])


def seeds_needed(
    setting: Setting, difference: float, power_wanted: float = 0.8, max_seeds: int = MAX_SEEDS
) -> int | None:
    """The fewest seeds (2 or more) with that power; None if `max_seeds` do not reach it."""
    return _fewest(lambda n: power(setting, n, difference) >= power_wanted, max_seeds)


def seeds_for_equivalence(
    setting: Setting, margin: float, power_wanted: float = 0.8, max_seeds: int = MAX_SEEDS
) -> int | None:
    """The fewest seeds that show two equal contenders equivalent with that power; None if none do."""
    return _fewest(lambda n: equivalence_power(setting, n, margin) >= power_wanted, max_seeds)


def seeds_closed_form(
    seed_sd: float, test_sd: float, difference: float, level: float = 0.95, power_wanted: float = 0.8
) -> float:
    """`seeds_needed` to within one seed or so: 2 + c s^2 / (d^2 - c tau^2); infinite if none do."""
    c = detectable_factor(level, power_wanted) ** 2
    room = difference**2 - c * test_sd**2
    return 2 + c * seed_sd**2 / room if room > 0 else math.inf


def detectable_factor(level: float = 0.95, power_wanted: float = 0.8) -> float:
    """How many standard errors a difference must be away to be shown with that power: 2.80."""
    return float(ndtri((1 + level) / 2) + ndtri(power_wanted))


def smallest_detectable(setting: Setting, power_wanted: float = 0.8) -> float:
    """The difference below which no number of seeds suffices on this test set."""
    return float(_test_quantile(setting, 1 - setting.level) + ndtri(power_wanted)) * setting.test_sd


def detectable_difference(
    comparison: Comparison,
    comparisons: int = 1,
    sequential: SequentialPlan | None = None,
    power_wanted: float = 0.8,
) -> float | None:
    """The smallest true difference that would have been shown with that power by what there is.

    None with fewer than 3 seeds, of a cross-validation, or where it would be more than a score can differ.
    """
    if comparison.n_seeds < 3 or comparison.seed_variance is None or comparison.method is Method.FOLDS:
        return None
    setting = setting_from_pilot(
        comparison, level=comparison.level, comparisons=comparisons, sequential=sequential
    )
    if comparison.method is Method.FIXED_TEST_SET:
        setting = replace(setting, test_sd=0.0)
    low, high = 0.0, math.hypot(setting.seed_sd, setting.test_sd)
    if high == 0:
        return None
    while power(setting, comparison.n_seeds, high) < power_wanted:
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        enough = power(setting, comparison.n_seeds, middle) >= power_wanted
        low, high = (low, middle) if enough else (middle, high)
    return None if comparison.highest is not None and high > comparison.highest else high


def plan_seeds(setting: Setting, difference: float, power_wanted: float = 0.8) -> Advice:
    """Seeds for a difference, what this test set can ever show, and how much larger it would have to be.

    The factor of the test set is what seeds without end would need, times 1.5 to leave seeds something to do.

    Raises: EvidenceError unless the difference is positive and the power between 0 and 1.
    """
    if not 0 < difference < 1:
        raise EvidenceError(f"a difference must lie between 0 and 1 (0.01 is one point), got {difference:g}.")
    if not 0 < power_wanted < 1:
        raise EvidenceError(f"a power must lie between 0 and 1, such as 0.8; got {power_wanted:g}.")
    seeds = seeds_needed(setting, difference, power_wanted)
    smallest = smallest_detectable(setting, power_wanted)
    too_small = seeds is None and smallest > 0
    return Advice(
        difference=difference,
        power_wanted=power_wanted,
        seeds=seeds,
        power=None if seeds is None else power(setting, seeds, difference),
        smallest_difference=smallest,
        test_set_factor=max(1.5 * (smallest / difference) ** 2, 1.0) if too_small else 1.0,
    )


def _reach(setting: Setting, n_seeds: int, alpha: float) -> np.ndarray:
    """Half-widths at equally likely values of the seed variance that n seeds may happen to show."""
    if n_seeds < 2:
        raise EvidenceError(f"power needs at least 2 seeds, got {n_seeds}.")
    df = n_seeds - 1
    levels = (np.arange(QUANTILE_POINTS) + 0.5) / QUANTILE_POINTS
    seen = setting.seed_sd**2 / n_seeds * chdtri(df, 1 - levels) / df
    split = 1 / len(setting.sequential.looks) if setting.sequential else 1.0
    seeds = t_quantile(split * alpha / setting.comparisons / 2, df) ** 2 * seen
    return np.asarray(np.sqrt(seeds + (_test_quantile(setting, alpha) * setting.test_sd) ** 2))


def _test_quantile(setting: Setting, alpha: float) -> float:
    split = TEST_SPLIT if setting.sequential else 1.0
    return float(t_quantile(split * alpha / setting.comparisons / 2, math.inf))


def _spread(setting: Setting, n_seeds: int) -> float:
    return math.sqrt(setting.seed_sd**2 / n_seeds + setting.test_sd**2)


def _phi(value: np.ndarray, spread: float) -> np.ndarray:
    """P(normal with this SD < value); a step where there is no spread at all."""
    return np.asarray(ndtr(value / spread) if spread > 0 else (value > 0).astype(np.float64))


def _fewest(enough: Callable[[int], bool], max_seeds: int) -> int | None:
    """The smallest n in 2..max_seeds that is enough, where more is never worse."""
    if not enough(max_seeds):
        return None
    low, high = 1, max_seeds  # low is not enough, high is
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
