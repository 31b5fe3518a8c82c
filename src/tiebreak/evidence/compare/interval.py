"""Several sources of chance in one interval: Banerjee's quadrature of what each of them alone would ask for.

Everything that states an uncertainty in tiebreak ends here: the comparison of two, the family of
many, the sequential rule and the planning differ only in their parts and in how these split alpha. With A and
B the variances of the mean that come from the seeds and from the test images, the half-width is

    HW(alpha)^2 = t(1 - alpha/2, seeds - 1)^2 * A  +  t(1 - alpha/2, images - 1)^2 * B

It covers at least 1 - alpha for every ratio of A to B (Banerjee 1960, Sankhya 22:357), with no estimated
degrees of freedom. Seeds that are not paired have a part for each contender.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from tiebreak.errors import EvidenceError

TINIEST = 5e-324  # positive float, which stands for a probability that underflows
FLOOR_ERRORS = 0.84  # standard errors: an estimate of 0 leaves that much open in one study of five
Number = int | float | np.ndarray  # a scalar, or an array that broadcasts with the others


@dataclass(frozen=True, kw_only=True)
class Variance:
    """The mean of a [seed, example] array and the parts of its variance (crossed random effects)."""

    mean: float
    seed: float  # A: variance of the mean from the seeds, with the seed x example noise in it
    test: float  # B: variance of the mean from the choice of test images; more seeds do not shrink it
    test_error: float  # standard error of B
    noise: float  # MS_R: variance of one score from seed x example chance


def check_level(level: float) -> None:
    """Raises: EvidenceError unless `level` is a share such as 0.95."""
    if not 0 < level < 1:
        raise EvidenceError(f"a confidence level must lie between 0 and 1, such as 0.95; got {level:g}.")


def t_quantile(upper_tail: Number, df: Number) -> Number:
    """The value that a t variable exceeds with probability `upper_tail`; normal where df is infinite."""
    # The lower tail keeps its digits where 1 - upper_tail would round to 1.
    value: Number = np.where(np.isinf(df), -ndtri(upper_tail), -stdtrit(df, upper_tail))[()]
    return value


def t_upper_tail(value: Number, df: Number) -> Number:
    """The probability that a t variable exceeds `value`; normal where df is infinite."""
    tail: Number = np.where(np.isinf(df), ndtr(np.negative(value)), stdtr(df, np.negative(value)))[()]
    return tail


def leg(alpha: Number, variance: Number, df: Number = math.inf, split: float = 1.0) -> Number:
    """Half the width that one source of chance asks for alone. All arguments broadcast."""
    reach: Number = t_quantile(split * np.asarray(alpha) / 2, df) * np.sqrt(variance)
    return reach


@dataclass(frozen=True, kw_only=True)
class Part:
    """One source of chance in a mean."""

    variance: float  # of the mean, from this source
    df: float | None = None  # degrees of freedom of that variance; None: it is as good as known
    split: float = 1.0  # the share of alpha that a sequential rule grants it

    def reach(self, alpha: float) -> float:
        """Half the width that this source asks for alone."""
        return float(leg(alpha, self.variance, self.df or math.inf, self.split))

    def alpha(self, distance: float) -> float:
        """The alpha at which it asks for that much."""
        return 2 * float(t_upper_tail(distance / math.sqrt(self.variance), self.df or math.inf)) / self.split


def half_width(alpha: float, *parts: Part) -> float:
    """Half the width of the 1 - alpha interval."""
    return math.hypot(*(part.reach(alpha) for part in parts))


def p_value(distance: float, *parts: Part) -> float:
    """The two-sided p-value: the alpha with `half_width(alpha, *parts) == abs(distance)`, at most 1.

    It lies between what the parts ask for if each had the whole distance, and if each had its equal share as
    a leg of the hypotenuse.
    """
    distance, live = abs(distance), [part for part in parts if part.variance > 0]
    if distance == 0 or not live:
        return float(distance == 0)
    least, most = (
        math.log(max(TINIEST, *(part.alpha(share) for part in live)))
        for share in (distance, distance / math.sqrt(len(live)))
    )
    most = min(most, 0.0)
    if least >= most:
        return math.exp(most)

    def gap(log_alpha: float) -> float:
        return half_width(math.exp(log_alpha), *live) / distance - 1

    if gap(most) >= 0 or gap(least) <= 0:  # as good as one part alone: rounding decides
        return math.exp(most if gap(most) >= 0 else least)
    from scipy.optimize import brentq  # late: a sixth of a second

    return math.exp(brentq(gap, least, most, xtol=1e-15, rtol=1e-14))


def pseudo_examples(low: float, high: float) -> tuple[float, ...]:
    """The scores of the pseudo-examples, half a weight each, for scores in low..high.

    Nobody right, everybody right, only those that count against it, only those that count for it (Agresti &
    Min 2005, Stat Med 24:729): for a difference -1, 0, 0, 1, for one accuracy 0, 0, 1, 1.
    """
    return (low, high, 0.0, low + high)


def summarise(scores: Float[np.ndarray, "seed example"], pseudo: Sequence[float] = ()) -> Variance:
    """Mean and variance parts of an array of at least two seeds and two examples.

    The two-way analysis of variance (Owen 2007, AoAS 1:386). `pseudo`: as `pseudo_examples`, which keep B
    above zero when few examples differ. Without them (a loss) B is the plain unbiased estimate, at least 0.

    Raises: EvidenceError with fewer than two seeds or two examples.
    """
    n, m = scores.shape
    if n < 2 or m < 2:
        raise EvidenceError(f"variances need at least 2 seeds and 2 test examples, got {n} and {m}.")
    of_seed, of_example = scores.mean(axis=1), scores.mean(axis=0)
    mean = float(of_seed.mean())
    ms_seed = m * _sum_of_squares(of_seed - mean) / (n - 1)
    ss_example = n * _sum_of_squares(of_example - mean)
    residual = scores - of_example
    residual -= (of_seed - mean)[:, None]
    ms_residual = _sum_of_squares(residual) / ((n - 1) * (m - 1))
    # What each example alone says about the variance between examples.
    each = np.square(of_example - mean) - np.square(residual).sum(axis=0) / (n * (n - 1))
    between = mean_square_of_examples(ss_example, n, m, mean, pseudo)
    return Variance(
        mean=mean,
        seed=ms_seed / (n * m),
        test=max(between - ms_residual, 0.0) / (n * (m + len(pseudo) / 2)),
        test_error=float(each.std(ddof=1)) / m**1.5,
        noise=ms_residual,
    )


def mean_square_of_examples(
    ss_example: float, n: int, m: int, mean: float, pseudo: Sequence[float] = ()
) -> float:
    """The mean square between examples, the pseudo-examples among them."""
    more = n * sum((score - mean) ** 2 for score in pseudo) / 2
    return (ss_example + more) / (m - 1 + len(pseudo) / 2)


def data_variance(fixed: Sequence[float], redrawn: Sequence[float]) -> float:
    """V: how much more a difference varies over seeds that each draw their training images anew.

    The difference of two estimated variances is often far below what it stands for, and an interval built on
    it too narrow. So FLOOR_ERRORS of its standard errors are added (benchmarks/vary.py shows the coverage).

    Arguments: `fixed`, `redrawn` - one difference a seed, at least two of each.
    """
    within, around = (float(np.var(differences, ddof=1)) for differences in (fixed, redrawn))
    error = math.sqrt(2 * (within**2 / (len(fixed) - 1) + around**2 / (len(redrawn) - 1)))
    return max(around - within + FLOOR_ERRORS * error, 0.0)


def _sum_of_squares(values: np.ndarray) -> float:
    flat = values.ravel()
    return float(flat @ flat)


def cluster_scores(scores: Float[np.ndarray, "seed example"], groups: np.ndarray) -> np.ndarray:
    """One column per group of examples that belong together (a patient, a film): [seed, group].

    The mean of each seed stays what it was, so the difference is still one per example. With groups of
    equal size these are the group means; otherwise they are corrected for the size as in a ratio estimate.

    Raises: EvidenceError unless there is one group name per example and at least two groups.
    """
    if groups.shape != (scores.shape[1],):
        raise EvidenceError(
            f"groups must name one group per test example ({scores.shape[1]:,}), got shape {groups.shape}."
        )
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise EvidenceError("groups must name at least 2 groups of test examples, got 1.")
    size = np.bincount(member)
    total = np.stack([np.bincount(member, weights=row) for row in scores])
    mean = scores.mean(axis=1, keepdims=True)
    by_group: np.ndarray = mean + (total - size * mean) * (len(names) / scores.shape[1])
    return by_group
