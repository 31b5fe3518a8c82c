"""A pair of contenders, from what each got right on each test image to a comparison.

A difference is always a minus b, of a score of which more is better (for a loss, pass its negative).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.special import bdtr

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Comparison, Found, Method, comparison_of
from tiebreak.evidence.compare.interval import (
    Part,
    check_level,
    cluster_scores,
    mean_square_of_examples,
    pseudo_examples,
    summarise,
)
from tiebreak.evidence.describe.collapse import find_collapsed


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
    lowest: float | None = None,
    pseudo_images: bool = True,
    level: float = 0.95,
    groups: np.ndarray | None = None,
    fixed_test_set: bool = False,
) -> Comparison:
    """The interval for the mean of any per-example contrast, for which the same algebra holds.

    Arguments: `bound` - the highest score there can be: of a difference of correctness 1, also within one
    class (its examples only); of a difference of two such differences 2; None for a loss, which is neither
    clipped nor has pseudo-images; `lowest` - the lowest, by default -bound; of one accuracy 0;
    `pseudo_images` - without them for scores that seldom come near their bounds, such as Brier's.

    Raises: EvidenceError for an empty or non-finite array, a score beyond the bounds, or a fixed test set and
    one seed.
    """
    check_level(level)
    if lowest is None and bound is not None:
        lowest = -bound
    _check_scores(scores, lowest, bound)
    n, m = scores.shape
    if fixed_test_set and n < 2:
        raise EvidenceError(
            "an interval for a fixed test set needs at least 2 seeds, got 1; train more seeds."
        )
    units = scores if groups is None else cluster_scores(scores, groups)
    pseudo: tuple[float, ...] = ()
    if pseudo_images and bound is not None and lowest is not None:
        pseudo = pseudo_examples(lowest, bound)
    if n == 1:
        found = _one_seed(units[0], pseudo)
    else:
        parts = summarise(units, pseudo)
        found = Found(
            method=Method.FIXED_TEST_SET if fixed_test_set else Method.CROSSED,
            difference=parts.mean,
            centre=parts.mean,
            seeds=(Part(variance=max(parts.seed, _rounding(scores, units.shape[1])), df=n - 1),),
            images=Part(variance=parts.test, df=units.shape[1] - 1),
            test_error=parts.test_error,
        )
    result = comparison_of(
        found,
        level=level,
        n_seeds=n,
        n_examples=m,
        n_groups=None if groups is None else units.shape[1],
        lowest=lowest,
        highest=bound,
        seed_differences=tuple(float(d) for d in scores.mean(axis=1)),
    )
    if (
        n == 1
        and groups is None
        and (lowest, bound) == (-1.0, 1.0)
        and bool(np.isin(scores, (-1, 0, 1)).all())
    ):
        return replace(result, p_value=_exact_mcnemar(scores))
    return result


def compare_unpaired(
    a: Shaped[np.ndarray, "seeds_a examples_a"],
    b: Shaped[np.ndarray, "seeds_b examples_b"],
    *,
    bound: float | None = 1.0,
    level: float = 0.95,
    groups: np.ndarray | None = None,
) -> Comparison:
    """Compare two contenders on the same test images whose seeds share nothing: each side has its own t.

    Arguments: `a`, `b` - right or wrong, or a score of which more is better; `bound`, `groups` - as for
    `compare_scores`.

    Raises: EvidenceError with fewer than two seeds of either, or different numbers of test images.
    """
    check_level(level)
    (n_a, m), (n_b, m_b) = a.shape, b.shape
    if m != m_b:
        raise EvidenceError(f"both contenders need the same test images, got {m:,} and {m_b:,} predictions.")
    if min(n_a, n_b) < 2:
        raise EvidenceError(f"unpaired seeds need at least 2 of each contender, got {n_a} and {n_b}.")
    rows = [side.astype(np.float64) for side in (a, b)]
    units = rows if groups is None else [cluster_scores(side, groups) for side in rows]
    pseudo = () if bound is None else pseudo_examples(-bound, bound)
    difference, images, error = _unpaired_images(units[0], units[1], pseudo)
    result = comparison_of(
        Found(
            method=Method.UNPAIRED,
            difference=difference,
            centre=difference,
            seeds=tuple(
                Part(
                    variance=max(summarise(side).seed, _rounding(scores, side.shape[1])),
                    df=len(side) - 1,
                )
                for side, scores in zip(units, rows, strict=True)
            ),
            images=images,
            test_error=error,
        ),
        level=level,
        n_seeds=min(n_a, n_b),
        n_examples=m,
        n_groups=None if groups is None else units[0].shape[1],
        lowest=None if bound is None else -bound,
        highest=bound,
        seed_differences=(),
    )
    if a.dtype != bool:
        return result
    collapsed = find_collapsed("a", rows[0].mean(axis=1), range(n_a), m) + find_collapsed(
        "b", rows[1].mean(axis=1), range(n_b), m
    )
    return replace(result, collapsed=collapsed)


def _unpaired_images(a: np.ndarray, b: np.ndarray, pseudo: tuple[float, ...]) -> tuple[float, Part, float]:
    """The difference, what the choice of test images adds to its variance, and that estimate's error."""
    m = a.shape[1]
    of_example = a.mean(axis=0) - b.mean(axis=0)
    difference = float(a.mean() - b.mean())
    squares = np.square(of_example - difference)
    # Per example, the noise of the means of both sides' seeds.
    noise = sum((side - side.mean(axis=1, keepdims=True)).var(axis=0, ddof=1) / len(side) for side in (a, b))
    between = mean_square_of_examples(float(squares.sum()), 1, m, difference, pseudo)
    of_seeds = float(np.sum(noise)) / (m - 1)
    images = Part(variance=max(between - of_seeds, 0.0) / (m + len(pseudo) / 2), df=m - 1)
    return difference, images, float((squares - noise).std(ddof=1)) / m**1.5


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


def _rounding(scores: np.ndarray, m: int) -> float:
    """The least that A can be where each score is a whole number: a mean of m of them is rounded to 1/m.

    Seeds that happen to agree would otherwise leave no uncertainty at all. The variance of rounding is that
    of a uniform draw as wide as a step.
    """
    return 1 / (12 * m**2 * len(scores)) if bool((scores == np.rint(scores)).all()) else 0.0


def _one_seed(units: np.ndarray, pseudo: tuple[float, ...]) -> Found:
    """The mean of one seed's scores and the variance of that mean from the choice of test images."""
    m = len(units)
    if m < 2:
        raise EvidenceError(f"an interval needs at least 2 test examples, got {m}.")
    mean, weight = float(units.mean()), m + len(pseudo) / 2
    centre, images = mean, Part(variance=float(units.var(ddof=1)) / m, df=m - 1)
    if pseudo:
        centre = (m * mean + sum(pseudo) / 2) / weight
        squares = float(np.square(units).sum()) + sum(score**2 for score in pseudo) / 2 - weight * centre**2
        images = Part(variance=squares / weight**2)
    return Found(method=Method.ONE_SEED, difference=mean, centre=centre, seeds=(), images=images)


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


def _check_scores(scores: np.ndarray, lowest: float | None, highest: float | None) -> None:
    if scores.size == 0:
        raise EvidenceError(
            f"a comparison needs at least 1 seed and 2 test examples, got shape {scores.shape}."
        )
    if not np.isfinite(scores).all():
        raise EvidenceError("scores must be finite numbers; a run that diverged cannot be compared.")
    for end in (scores.min(), scores.max()):
        if lowest is not None and highest is not None and not lowest <= end <= highest:
            raise EvidenceError(f"scores must lie within {lowest:g}..{highest:g}, got {end:g}.")


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
