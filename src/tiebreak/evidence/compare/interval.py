"""Two sources of chance in one interval: Banerjee's quadrature of a seed part and a test-set part.

Everything that states an uncertainty in tiebreak ends here: the comparison of two, the family of
many, the sequential rule and the planning differ only in how they split alpha. The half-width is

    HW(alpha)^2 = t(1 - seed_split * alpha/2, seed_df)^2 * A  +  t(1 - test_split * alpha/2, test_df)^2 * B

with A and B the variances of the mean that come from the seeds and from the test images. It covers at least
1 - alpha for every ratio of A to B (Banerjee 1960, Sankhya 22:357), with no estimated degrees of freedom.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from tiebreak.errors import EvidenceError

Number = int | float | np.ndarray  # a scalar, or an array that broadcasts with the others


@dataclass(frozen=True, kw_only=True)
class Variance:
    """The mean of a [seed, example] array and the parts of its variance (crossed random effects)."""

    mean: float
    seed: float  # A: variance of the mean from the seeds, with the seed x example noise in it
    test: float  # B: variance of the mean from the choice of test images; more seeds do not shrink it
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


def half_width(
    alpha: Number,
    seed_variance: Number,
    seed_df: Number,
    test_variance: Number,
    test_df: Number = math.inf,
    *,
    seed_split: float = 1.0,
    test_split: float = 1.0,
) -> Number:
    """Half the width of the 1 - alpha interval. All arguments broadcast, so a simulation is one call.

    `seed_split` and `test_split` are the shares of alpha that a sequential rule grants to each part.
    """
    seeds = t_quantile(seed_split * np.asarray(alpha) / 2, seed_df) * np.sqrt(seed_variance)
    images = t_quantile(test_split * np.asarray(alpha) / 2, test_df) * np.sqrt(test_variance)
    width: Number = np.hypot(seeds, images)
    return width


def p_value(
    distance: float,
    seed_variance: float,
    seed_df: float,
    test_variance: float,
    test_df: float = math.inf,
    *,
    seed_split: float = 1.0,
    test_split: float = 1.0,
) -> float:
    """The two-sided p-value: the alpha with `half_width(alpha, ...) == abs(distance)`, at most 1.

    The distance is the hypotenuse of a seed leg and a test-set leg; the angle between them is found at
    which both legs ask for the same alpha. It takes only tail probabilities: small p keep their digits.
    """
    distance = abs(distance)
    if distance == 0:
        return 1.0
    seed_scale, test_scale = math.sqrt(seed_variance), math.sqrt(test_variance)

    def alpha_of_seeds(leg: float) -> float:
        return 2 * float(t_upper_tail(leg / seed_scale, seed_df)) / seed_split

    def alpha_of_images(leg: float) -> float:
        return 2 * float(t_upper_tail(leg / test_scale, test_df)) / test_split

    if seed_scale == 0 and test_scale == 0:
        return 0.0
    if seed_scale == 0:
        return min(1.0, alpha_of_images(distance))
    if test_scale == 0:
        return min(1.0, alpha_of_seeds(distance))

    def gap(angle: float) -> float:
        return _log(alpha_of_seeds(distance * math.sin(angle))) - _log(
            alpha_of_images(distance * math.cos(angle))
        )

    right = math.pi / 2
    if gap(right) >= 0:  # even with the whole distance on the seed leg, alpha stays above that of the images
        return min(1.0, alpha_of_seeds(distance))
    if gap(0.0) <= 0:
        return min(1.0, alpha_of_images(distance))
    angle = brentq(gap, 0.0, right, xtol=1e-15, rtol=1e-14)
    # The longer leg fixes alpha with the smaller relative error.
    if angle > right / 2:
        return min(1.0, alpha_of_seeds(distance * math.sin(angle)))
    return min(1.0, alpha_of_images(distance * math.cos(angle)))


def _log(probability: float) -> float:
    return math.log(max(probability, 5e-324))  # the smallest positive float stands for an underflow


def summarise(scores: Float[np.ndarray, "seed example"], bound: float | None) -> Variance:
    """Mean and variance parts of an array of at least two seeds and two examples.

    The two-way analysis of variance (Owen 2007, AoAS 1:386). Where no score can leave [-bound, bound], two
    pseudo-examples (half of one at each bound, one at 0) keep B above zero when few examples differ
    (Agresti & Min 2005, Stat Med 24:729). With `bound=None` (a loss) B is the plain unbiased estimate.

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
    return Variance(
        mean=mean,
        seed=ms_seed / (n * m),
        test=max(mean_square_of_examples(ss_example, n, m, mean, bound) - ms_residual, 0.0)
        / (n * (m if bound is None else m + 2)),
        noise=ms_residual,
    )


def mean_square_of_examples(ss_example: float, n: int, m: int, mean: float, bound: float | None) -> float:
    """The mean square between examples, with the two pseudo-examples where the scores have a bound."""
    if bound is None:
        return ss_example / (m - 1)
    return (ss_example + n * (bound**2 + 2 * mean**2)) / (m + 1)


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
