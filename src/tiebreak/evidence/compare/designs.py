"""Which interval a pair of contenders allows, where they were not trained side by side.

Seeds may have nothing in common but their numbers; there may be one, or folds of a cross-validation; the
contenders may have seen other test images, or images may come in groups; and what was measured may be a
score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Comparison, Method, compare_parts, with_data_part
from tiebreak.evidence.compare.interval import (
    Part,
    cluster_scores,
    data_variance,
    mean_square_of_examples,
    pseudo_examples,
    summarise,
)
from tiebreak.evidence.compare.pair import compare_predictions, compare_scores, compare_unpaired
from tiebreak.evidence.compare.simultaneous import RANKABLE, Ranking, rank
from tiebreak.results.results import Measure, Pairing, Results

Rows = Mapping[int, Float64[np.ndarray, " _"]]  # seed -> a value for each test image


def has_own_design(results: Results) -> bool:
    """Whether its contenders are not simply paired by seed on the same images, which is how studies are."""
    return (
        results.rule.pairing is not Pairing.PAIRED
        or results.measure is Measure.SCORES
        or results.rule.checkpoints
        or results.examples.groups is not None
        or results.rule.blocks is not None
        or results.rule.vary is not None
        or any(contender.own is not None for contender in results.contenders)
    )


def rank_by_design(results: Results) -> Ranking:
    """All pairs, or all against the baseline, each by the interval that its runs allow.

    Raises: EvidenceError if a pair cannot be compared.
    """
    rule, labels = results.rule, results.labels
    values = {label: results.values(label) for label in labels}
    means = {label: float(np.mean([row.mean() for row in rows.values()])) for label, rows in values.items()}

    def versus(a: str, b: str) -> Comparison:
        return compare_by_design(results, a, b, values[a], values[b])

    few = set()
    if rule.pairing is not Pairing.FOLDS and not rule.checkpoints:
        few = {label for label in labels if len(_by_search(values[label], rule.blocks)) < RANKABLE}
    return rank(means, versus, few, baseline=rule.baseline, level=rule.level)


def compare_by_design(
    results: Results,
    a: str,
    b: str,
    rows_a: Rows,
    rows_b: Rows,
    *,
    bound: float | None = 1.0,
    images: Bool[np.ndarray, " M"] | None = None,
) -> Comparison:
    """Compare two contenders by values of which more is better, as their seeds and images allow.

    `bound`: no difference of two values leaves [-bound, bound]; scores have none. `images`: which of the test
    images the values are of, if not of all.

    Raises: EvidenceError if the seeds or folds of the two allow no comparison.
    """
    rule = results.rule
    bound = None if results.measure is Measure.SCORES else bound
    apart = any(results.of(label).own is not None for label in (a, b))
    if apart:
        groups = [results.examples_of(label).groups for label in (a, b)]
        return compare_samples(rows_a, rows_b, level=rule.level, bounded=bound is not None, groups=groups)
    groups_of_all = results.examples.groups
    if groups_of_all is not None and images is not None:
        groups_of_all = groups_of_all[images]
    if rule.pairing is Pairing.FOLDS:
        return compare_folds(
            rows_a, rows_b, _folds(results, a, rows_a, images), level=rule.level, bound=bound
        )
    if rule.blocks is not None:
        return _over_searches(rows_a, rows_b, rule.blocks, bound, rule.level)
    common = sorted(rows_a.keys() & rows_b.keys())
    if (
        min(len(rows_a), len(rows_b)) == 1
    ):  # one checkpoint against one: whichever more there are is not shown
        pair = [rows[common[0] if common else min(rows)] for rows in (rows_a, rows_b)]
        scores = (pair[0] - pair[1])[None]
        one = compare_scores(scores, bound=bound, level=rule.level, groups=groups_of_all)
        return replace(one, method=Method.CHECKPOINTS) if rule.checkpoints else one
    if rule.pairing is Pairing.PAIRED and len(common) >= 2:
        paired = _paired(rows_a, rows_b, common, bound, rule.level, groups_of_all)
        if rule.vary == "data" and images is None and bound == 1.0:
            return _with_redrawn(paired, results, a, b)
        return replace(paired, other_data=rule.vary == "disjoint")
    right_or_wrong = bound == 1.0 and groups_of_all is None
    sides = [np.stack(list(rows.values())) for rows in (rows_a, rows_b)]
    sides = [side == 1 for side in sides] if right_or_wrong else sides
    return compare_unpaired(*sides, bound=bound, level=rule.level, groups=groups_of_all)


def _with_redrawn(comparison: Comparison, results: Results, a: str, b: str) -> Comparison:
    """The comparison with the luck of the training images: how much more the difference varies where each
    seed draws them anew. Not counted before two seeds of both have such runs.
    """
    redrawn = [results.of(label).redrawn for label in (a, b)]
    common = sorted(redrawn[0].keys() & redrawn[1].keys())
    if len(common) < 2:
        return comparison
    truth = results.examples.truth
    leads = [float((redrawn[0][s].values(truth) - redrawn[1][s].values(truth)).mean()) for s in common]
    return with_data_part(
        comparison,
        data_variance(comparison.seed_differences, leads),
        df=min(len(common), comparison.n_seeds) - 1,
    )


def _over_searches(
    rows_a: Rows, rows_b: Rows, blocks: Sequence[tuple[int, ...]], bound: float | None, level: float
) -> Comparison:
    """Compare searches: seeds that share one are luck of the seed only, so their scores are averaged."""
    shared = rows_a.keys() & rows_b.keys()
    a, b = (_by_search({seed: rows[seed] for seed in sorted(shared)}, blocks) for rows in (rows_a, rows_b))
    if not a:
        raise EvidenceError(f"the contenders have no seed in common ({sorted(rows_a)} and {sorted(rows_b)}).")
    scores = np.stack(list(a.values())) - np.stack(list(b.values()))
    found = compare_scores(scores, bound=bound, level=level)
    return replace(
        found,
        seeds_a_search=len(blocks[0]),
        missing_seeds=tuple(sorted(rows_a.keys() ^ rows_b.keys())),
    )


def _by_search(rows: Rows, blocks: Sequence[tuple[int, ...]] | None) -> Rows:
    """The mean of the rows of seeds that share a search, by the first of them."""
    if blocks is None:
        return rows
    there = [[seed for seed in block if seed in rows] for block in blocks]
    return {seeds[0]: np.mean([rows[seed] for seed in seeds], axis=0) for seeds in there if seeds}


def _paired(
    rows_a: Rows, rows_b: Rows, seeds: list[int], bound: float | None, level: float, groups: np.ndarray | None
) -> Comparison:
    a, b = (np.stack([rows[seed] for seed in seeds]) for rows in (rows_a, rows_b))
    missing = tuple(sorted(rows_a.keys() ^ rows_b.keys()))
    if bound == 1.0:
        found = compare_predictions(a == 1, b == 1, level=level, groups=groups, seeds=seeds)
    else:
        found = compare_scores(a - b, bound=bound, level=level, groups=groups)
    return replace(found, missing_seeds=missing)


def compare_samples(
    rows_a: Rows,
    rows_b: Rows,
    *,
    level: float = 0.95,
    bounded: bool = True,
    groups: Sequence[np.ndarray | None] = (None, None),
) -> Comparison:
    """Compare two contenders that were tested on different images: two independent samples.

    With one seed of either it is about these two checkpoints.

    Raises: EvidenceError with fewer than two images of either.
    """
    n = min(len(rows_a), len(rows_b))
    pseudo = pseudo_examples(0.0, 1.0) if bounded else ()
    means, seeds, of_images, counts = [], [], [], []
    for rows, named in zip((rows_a, rows_b), groups, strict=True):
        values = np.stack(list(rows.values())[: 1 if n == 1 else None])
        units = values if named is None else cluster_scores(values, named)
        means.append(float(values.mean()))
        counts.append(units.shape[1])
        if n > 1:
            side = summarise(units, pseudo)
            seeds.append(Part(variance=side.seed, df=len(units) - 1))
            of_images.append(side.test)
        else:
            squares = float(np.square(units[0] - means[-1]).sum())
            between = mean_square_of_examples(squares, 1, _at_least_two(counts[-1]), means[-1], pseudo)
            of_images.append(between / (counts[-1] + len(pseudo) / 2))
    return compare_parts(
        means[0] - means[1],
        tuple(seeds),
        Part(variance=sum(of_images), df=min(counts) - 1),  # of the side that has fewer: never too narrow
        method=Method.UNPAIRED if n > 1 else Method.ONE_SEED,
        level=level,
        n_seeds=n,
        n_examples=min(counts),
        bound=1.0 if bounded else None,
    )


def _at_least_two(images: int) -> int:
    if images < 2:
        raise EvidenceError(f"an interval needs at least 2 test examples, got {images}.")
    return images


def compare_folds(
    rows_a: Rows,
    rows_b: Rows,
    folds: Mapping[int, Int64[np.ndarray, " _"]],
    *,
    level: float = 0.95,
    bound: float | None = 1.0,
) -> Comparison:
    """Compare two contenders over the folds of a cross-validation, by Nadeau and Bengio's corrected t test.

    A key of the rows is a repeat; `folds`: which fold of a repeat tested each image. The folds of a repeat
    share
    most of their training images, and repeats all of them, so the variance of J folds' differences is taken
    (1/J + test images / training images) times, not 1/J times (Nadeau & Bengio 2003, Machine Learning
    52:239).

    Raises: EvidenceError if the two have no repeat in common, or there are fewer than 2 folds.
    """
    common = sorted(rows_a.keys() & rows_b.keys())
    if not common:
        raise EvidenceError(f"no repeat is common to both, got {sorted(rows_a)} and {sorted(rows_b)}.")
    differences, weights, ratios = [], [], []
    for repeat in common:
        of_image = rows_a[repeat] - rows_b[repeat]
        size = np.bincount(folds[repeat])
        total = np.bincount(folds[repeat], weights=of_image)
        present = size > 0
        differences += list(total[present] / size[present])
        weights += list(size[present])
        ratios += list(size[present] / (len(of_image) - size[present]).clip(min=1))
    count = len(differences)
    if count < 2 or max(weights) == len(rows_a[common[0]]):
        raise EvidenceError("a cross-validation needs at least 2 folds; without folds, name no --fold.")
    variance = (1 / count + float(np.mean(ratios))) * float(np.var(differences, ddof=1))
    images = len(rows_a[common[0]])
    return compare_parts(
        float(np.average(differences, weights=weights)),
        (Part(variance=variance, df=count - 1),),
        Part(variance=0.0),
        method=Method.FOLDS,
        level=level,
        n_seeds=count,
        n_examples=images,
        bound=bound,
        seed_differences=tuple(float(d) for d in differences),
    )


def _folds(
    results: Results, label: str, rows: Rows, images: np.ndarray | None
) -> dict[int, Int64[np.ndarray, " _"]]:
    runs = results.of(label).runs
    found = {}
    for repeat in rows:
        folds = runs[repeat].folds
        if folds is None:
            raise EvidenceError(f"{results.source}: {label}, repeat {repeat} does not tell its folds.")
        found[repeat] = folds if images is None else folds[images]
    return found
