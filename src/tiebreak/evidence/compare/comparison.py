"""The difference between two contenders over seeds and test images, with its interval.

A difference is always a minus b, of a score of which more is better (for a loss, pass its negative).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import bdtr

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.interval import (
    check_level,
    cluster_scores,
    half_width,
    mean_square_of_examples,
    p_value,
    summarise,
)
from tiebreak.evidence.describe.collapse import Collapse, find_collapsed


class Method(StrEnum):
    """Where an interval came from, and so what it is about."""

    CROSSED = "crossed"  # new seeds and new test images
    UNPAIRED = "unpaired"  # the same, where the seeds of a and b have nothing in common
    FIXED_TEST_SET = "fixed_test_set"  # new seeds on this very test set
    ONE_SEED = "one_seed"  # new test images for these two checkpoints; says nothing about other seeds


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A difference a minus b in 0..1 (not points), its interval, and where the uncertainty comes from."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    level: float  # of ci_low .. ci_high
    method: Method
    seed_variance: float | None  # A; None where one seed cannot show it
    test_variance: float  # B
    seed_share: float | None  # A / (A + B); None where A is unknown or both are 0
    test_share: float | None
    n_seeds: int  # pairs; for unpaired seeds, those of the contender that has fewer
    n_examples: int
    n_groups: int | None = None  # set where examples were taken in groups, which then count as the examples
    seed_df: float | None  # degrees of freedom of A
    bound: float | None  # no score leaves [-bound, bound]; None: a loss
    pair_correlation: float | None = None  # of the accuracies of a and b over the seeds: did pairing help?
    seed_differences: tuple[float, ...]  # one per pair; empty for unpaired seeds
    collapsed: tuple[Collapse, ...] = ()
    missing_seeds: tuple[int, ...] = ()  # seeds left out because only one of the two has them

    @property
    def test_df(self) -> float:
        """Degrees of freedom of B."""
        return float(self.n_groups or self.n_examples) - 1


def compare_predictions(
    correct_a: Bool[np.ndarray, "seeds_a examples_a"],
    correct_b: Bool[np.ndarray, "seeds_b examples_b"],
    *,
    level: float = 0.95,
    groups: np.ndarray | None = None,
    fixed_test_set: bool = False,
    seeds: Sequence[int] | None = None,
) -> Comparison:
    """Compare two contenders by which test images they got right; row s of both is the same seed.

    Arguments: `groups` - one name per example where examples come in clusters; `fixed_test_set` - count only
    the luck of the seed; `seeds` - the seeds' own numbers, for naming a collapsed one (default 0, 1, ...).
    With one seed: the exact McNemar test, and the interval for these two checkpoints.
    Raises: EvidenceError if the shapes do not fit or there is nothing to compare.
    """
    _check_same_shape(correct_a, correct_b)
    result = compare_scores(
        correct_a.astype(np.float64) - correct_b,
        bound=1.0,
        level=level,
        groups=groups,
        fixed_test_set=fixed_test_set,
    )
    accuracy_a, accuracy_b = correct_a.mean(axis=1), correct_b.mean(axis=1)
    numbers = _seed_numbers(seeds, len(accuracy_a))
    n_examples = correct_a.shape[1]
    return replace(
        result,
        pair_correlation=_correlation(accuracy_a, accuracy_b),
        collapsed=find_collapsed("a", accuracy_a, numbers, n_examples)
        + find_collapsed("b", accuracy_b, numbers, n_examples),
    )


def compare_scores(
    scores: Float[np.ndarray, "seed example"],
    *,
    bound: float | None,
    level: float = 0.95,
    groups: np.ndarray | None = None,
    fixed_test_set: bool = False,
) -> Comparison:
    """The interval for the mean of any per-example contrast, for which the same algebra holds.

    A difference of correctness (bound 1), of correctness within one class (its examples only; 1), of two such
    differences (2), of Brier scores (2), of losses (None: no pseudo-examples, plain variance, no clipping).

    Raises: EvidenceError for an empty or non-finite array, a score beyond the bound, or a fixed test set and
    one seed.
    """
    check_level(level)
    _check_scores(scores, bound)
    n, m = scores.shape
    if fixed_test_set and n < 2:
        raise EvidenceError(
            "an interval for a fixed test set needs at least 2 seeds, got 1; train more seeds."
        )
    units = scores if groups is None else cluster_scores(scores, groups)
    if n == 1:
        method = Method.ONE_SEED
        difference, test_variance = _one_seed_parts(units[0], bound)
        seed_variance = None
    else:
        method = Method.FIXED_TEST_SET if fixed_test_set else Method.CROSSED
        parts = summarise(units, bound)
        difference, seed_variance, test_variance = parts.mean, parts.seed, parts.test
    result = _comparison(
        method=method,
        difference=difference,
        level=level,
        seed_variance=seed_variance,
        test_variance=test_variance,
        seed_df=None if n == 1 else float(n - 1),
        n_seeds=n,
        n_examples=m,
        n_groups=None if groups is None else units.shape[1],
        bound=bound,
        seed_differences=tuple(float(d) for d in scores.mean(axis=1)),
    )
    if n == 1 and groups is None and bound == 1.0 and bool(np.isin(scores, (-1, 0, 1)).all()):
        return replace(result, p_value=_exact_mcnemar(scores))
    return result


def compare_unpaired(
    correct_a: Bool[np.ndarray, "seeds_a examples_a"],
    correct_b: Bool[np.ndarray, "seeds_b examples_b"],
    *,
    level: float = 0.95,
) -> Comparison:
    """Compare two contenders on the same test images whose seeds share nothing: Welch's df for the seed part.

    Raises: EvidenceError with fewer than two seeds of either, or different numbers of test images.
    """
    check_level(level)
    (n_a, m), (n_b, m_b) = correct_a.shape, correct_b.shape
    if m != m_b:
        raise EvidenceError(f"both contenders need the same test images, got {m:,} and {m_b:,} predictions.")
    if min(n_a, n_b) < 2:
        raise EvidenceError(f"unpaired seeds need at least 2 of each contender, got {n_a} and {n_b}.")
    a, b = (summarise(correct.astype(np.float64), None) for correct in (correct_a, correct_b))
    difference = a.mean - b.mean
    of_example = correct_a.mean(axis=0) - correct_b.mean(axis=0)
    between = mean_square_of_examples(
        float(np.square(of_example - difference).sum()), 1, m, difference, bound=1.0
    )
    seed_variance = a.seed + b.seed
    welch = a.seed**2 / (n_a - 1) + b.seed**2 / (n_b - 1)
    result = _comparison(
        method=Method.UNPAIRED,
        difference=difference,
        level=level,
        seed_variance=seed_variance,
        test_variance=max(between - a.noise / n_a - b.noise / n_b, 0.0) / (m + 2),
        seed_df=seed_variance**2 / welch if welch > 0 else float(min(n_a, n_b) - 1),
        n_seeds=min(n_a, n_b),
        n_examples=m,
        bound=1.0,
        seed_differences=(),
    )
    return replace(
        result,
        collapsed=find_collapsed("a", correct_a.mean(axis=1), range(n_a), m)
        + find_collapsed("b", correct_b.mean(axis=1), range(n_b), m),
    )


def compare_runs(
    runs_a: Mapping[int, Bool[np.ndarray, " _"]],
    runs_b: Mapping[int, Bool[np.ndarray, " _"]],
    *,
    level: float = 0.95,
    groups: np.ndarray | None = None,
    fixed_test_set: bool = False,
) -> Comparison:
    """Compare by seed number (seed -> [example]): seeds that both have are pairs, the others are named.

    Raises: EvidenceError if no seed is common (see `compare_unpaired`), or as `compare_predictions`.
    """
    common = sorted(runs_a.keys() & runs_b.keys())
    if not common:
        raise EvidenceError(
            f"the contenders have no seed in common ({sorted(runs_a)} and {sorted(runs_b)}); "
            "train both with the same seeds, or compare them as unpaired."
        )
    lengths = {len(runs[seed]) for runs in (runs_a, runs_b) for seed in common}
    if len(lengths) > 1:
        raise EvidenceError(f"all runs need the same test images, got {sorted(lengths)} predictions.")
    result = compare_predictions(
        np.stack([runs_a[seed] for seed in common]),
        np.stack([runs_b[seed] for seed in common]),
        level=level,
        groups=groups,
        fixed_test_set=fixed_test_set,
        seeds=common,
    )
    return replace(result, missing_seeds=tuple(sorted(runs_a.keys() ^ runs_b.keys())))


def interval_at(comparison: Comparison, level: float) -> tuple[float, float]:
    """The interval of the same data at another level, clipped to what the score can be."""
    check_level(level)
    centre, test_df = comparison.difference, comparison.test_df
    if comparison.method is Method.ONE_SEED and comparison.bound is not None:
        # Agresti & Min 2005: the centre moves towards 0 by the two pseudo-examples.
        centre, test_df = centre * (test_df + 1) / (test_df + 3), math.inf
    reach = float(
        half_width(
            1 - level,
            comparison.seed_variance or 0.0,
            comparison.seed_df or 1.0,
            0.0 if comparison.method is Method.FIXED_TEST_SET else comparison.test_variance,
            test_df,
        )
    )
    limit = math.inf if comparison.bound is None else comparison.bound
    return max(centre - reach, -limit), min(centre + reach, limit)


def p_value_at(comparison: Comparison, distance: float) -> float:
    """The two-sided p-value of a difference that lies `distance` from where the null hypothesis puts it."""
    return p_value(
        distance,
        comparison.seed_variance or 0.0,
        comparison.seed_df or 1.0,
        0.0 if comparison.method is Method.FIXED_TEST_SET else comparison.test_variance,
        comparison.test_df,
    )


def at_level(comparison: Comparison, level: float) -> Comparison:
    """The same comparison with its interval at another level."""
    low, high = interval_at(comparison, level)
    return replace(comparison, ci_low=low, ci_high=high, level=level)


def _comparison(
    *,
    method: Method,
    difference: float,
    level: float,
    seed_variance: float | None,
    test_variance: float,
    seed_df: float | None,
    n_seeds: int,
    n_examples: int,
    n_groups: int | None = None,
    bound: float | None,
    seed_differences: tuple[float, ...],
) -> Comparison:
    """Fill in what follows from the variances: the shares, the interval and the p-value."""
    total = None if seed_variance is None else seed_variance + test_variance
    share = None if seed_variance is None or not total else seed_variance / total
    draft = Comparison(
        difference=difference,
        ci_low=-math.inf,
        ci_high=math.inf,
        p_value=1.0,
        level=level,
        method=method,
        seed_variance=seed_variance,
        test_variance=test_variance,
        seed_share=share,
        test_share=None if share is None else 1 - share,
        n_seeds=n_seeds,
        n_examples=n_examples,
        n_groups=n_groups,
        seed_df=seed_df,
        bound=bound,
        seed_differences=seed_differences,
    )
    return replace(at_level(draft, level), p_value=p_value_at(draft, difference))


def _one_seed_parts(units: np.ndarray, bound: float | None) -> tuple[float, float]:
    """The mean of one seed's scores and the variance of that mean from the choice of test images."""
    m = len(units)
    if m < 2:
        raise EvidenceError(f"an interval needs at least 2 test examples, got {m}.")
    mean = float(units.mean())
    if bound is None:
        return mean, float(units.var(ddof=1)) / m
    # The sum of squares about the mean of the m examples and the two pseudo-examples.
    squares = float(np.square(units).sum()) + bound**2 - (m * mean) ** 2 / (m + 2)
    return mean, squares / (m + 2) ** 2


def _exact_mcnemar(scores: np.ndarray) -> float:
    """The exact two-sided McNemar test: a fair coin for each example that only one of the two gets right."""
    wins, losses = int((scores > 0).sum()), int((scores < 0).sum())
    return min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))


def _check_same_shape(correct_a: np.ndarray, correct_b: np.ndarray) -> None:
    if correct_a.shape != correct_b.shape:
        raise EvidenceError(
            "paired predictions need one shape [seed, example] for both contenders, "
            f"got {correct_a.shape} and {correct_b.shape}; pair them by seed with compare_runs."
        )


def _check_scores(scores: np.ndarray, bound: float | None) -> None:
    if scores.size == 0:
        raise EvidenceError(
            f"a comparison needs at least 1 seed and 2 test examples, got shape {scores.shape}."
        )
    if not np.isfinite(scores).all():
        raise EvidenceError("scores must be finite numbers; a run that diverged cannot be compared.")
    if bound is not None and np.abs(scores).max() > bound:
        raise EvidenceError(f"scores must lie within -{bound:g}..{bound:g}, got {np.abs(scores).max():g}.")


def _seed_numbers(seeds: Sequence[int] | None, n: int) -> Sequence[int]:
    if seeds is None:
        return range(n)
    if len(seeds) != n:
        raise EvidenceError(f"seeds must number the {n} rows of the predictions, got {len(seeds)} numbers.")
    return seeds


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson's; None with under three pairs (two always lie on a line) or where one does not vary."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])
