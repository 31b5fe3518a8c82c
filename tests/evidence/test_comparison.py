"""The comparison of two: references, invariants, and each way the data can be short."""

import dataclasses
import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.stats
from crossed_data import right_or_wrong
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Comparison, Method, at_level, interval_at
from tiebreak.evidence.compare.pair import compare_predictions, compare_runs, compare_scores, compare_unpaired


def pair(seed: int = 0, seeds: int = 5, examples: int = 400) -> tuple[np.ndarray, np.ndarray]:
    a, b = right_or_wrong(np.random.default_rng(seed), (0.9, 0.85), seeds, examples)
    return a, b


def test_where_examples_do_not_matter_it_is_scipys_paired_t() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.7, 0.02, (2, 6))
    result = compare_scores(np.repeat((a - b)[:, None], 50, axis=1), bound=None)
    expected = scipy.stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert result.test_variance < 1e-30
    assert result.p_value == pytest.approx(expected.pvalue, rel=1e-12)
    assert (result.ci_low, result.ci_high) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_where_seeds_do_not_matter_it_is_the_interval_of_the_test_set() -> None:
    scores = np.random.default_rng(3).normal(0.01, 0.3, 20_000)
    result = compare_scores(np.tile(scores, (4, 1)), bound=None)
    expected = scipy.stats.ttest_1samp(scores, 0.0)
    interval = expected.confidence_interval(0.95)
    assert result.seed_variance == pytest.approx(0.0, abs=1e-30)
    assert result.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (result.ci_low, result.ci_high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    normal = scipy.stats.norm.ppf(0.975) * scores.std(ddof=1) / np.sqrt(scores.size)
    assert result.ci_high - result.difference == pytest.approx(normal, rel=1e-3)


def test_fixed_test_set_is_scipys_paired_t_of_accuracies() -> None:
    a, b = pair()
    result = compare_predictions(a, b, fixed_test_set=True)
    expected = scipy.stats.ttest_rel(a.mean(axis=1), b.mean(axis=1))
    assert result.method is Method.FIXED_TEST_SET
    assert result.p_value == pytest.approx(expected.pvalue, rel=1e-12)
    interval = expected.confidence_interval(0.95)
    assert (result.ci_low, result.ci_high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert result.test_variance > 0  # known, only not counted


def test_by_hand_on_a_tiny_table() -> None:
    """Two seeds, four images, worked out on paper from the two-way analysis of variance."""
    a = np.array([[1, 1, 1, 0], [1, 1, 0, 1]], dtype=bool)
    b = np.array([[1, 0, 0, 0], [1, 0, 0, 0]], dtype=bool)
    result = compare_predictions(a, b)
    # D = [0 1 1 0], [0 1 0 1]: g = 1/2; Ds = 1/2, 1/2; De = 0, 1, 1/2, 1/2
    # SS_E = 2 (1/4 + 1/4) = 1; residuals 0 0 1/2 -1/2 and back: SS_R = 1, MS_R = 1/3
    # MS_E* = (1 + 2 (1 + 1/2)) / 5 = 4/5; B = (4/5 - 1/3) / (2 * 6)
    assert result.difference == 0.5
    # Both seeds have 1/2, which is known to a step of 1/4 only.
    assert result.seed_variance == pytest.approx(1 / (12 * 4**2 * 2), rel=1e-12)
    assert result.test_variance == pytest.approx((4 / 5 - 1 / 3) / 12, rel=1e-12)
    assert result.seed_differences == (0.5, 0.5)


tables = st.tuples(st.integers(0, 10**6), st.integers(2, 6), st.integers(4, 40))


@given(tables)
def test_swapping_flips_the_sign_and_keeps_the_width(table: tuple[int, int, int]) -> None:
    a, b = pair(*table)
    one, other = compare_predictions(a, b), compare_predictions(b, a)
    assert other.difference == -one.difference
    assert (other.ci_low, other.ci_high) == pytest.approx((-one.ci_high, -one.ci_low), abs=1e-12)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-9)


@given(tables)
def test_the_order_of_seeds_and_examples_means_nothing(table: tuple[int, int, int]) -> None:
    a, b = pair(*table)
    rng = np.random.default_rng(table[0])
    rows, columns = rng.permutation(a.shape[0]), rng.permutation(a.shape[1])
    one = compare_predictions(a, b)
    other = compare_predictions(a[rows][:, columns], b[rows][:, columns])
    fields = ("difference", "ci_low", "ci_high", "p_value", "seed_variance", "test_variance")
    assert [getattr(other, f) for f in fields] == pytest.approx([getattr(one, f) for f in fields], abs=1e-12)


@given(tables)
def test_a_duplicated_test_set_shrinks_the_test_part_only(table: tuple[int, int, int]) -> None:
    a, b = pair(*table)
    one, other = compare_predictions(a, b), compare_predictions(np.tile(a, 2), np.tile(b, 2))
    rounding = 1 / (12 * one.n_examples**2 * one.n_seeds)  # of twice as many images it is a quarter
    assert max(other.seed_variance, rounding) == pytest.approx(one.seed_variance, abs=1e-15)


@given(tables)
def test_groups_see_through_a_duplicated_test_set(table: tuple[int, int, int]) -> None:
    a, b = pair(*table)
    groups = np.tile(np.arange(a.shape[1]), 2)
    one = compare_predictions(a, b)
    other = compare_predictions(np.tile(a, 2), np.tile(b, 2), groups=groups)
    assert (other.ci_low, other.ci_high) == pytest.approx((one.ci_low, one.ci_high), abs=1e-12)
    assert (other.n_groups, other.n_examples) == (a.shape[1], 2 * a.shape[1])


@given(tables, st.floats(0.5, 0.99))
def test_the_interval_widens_with_its_level(table: tuple[int, int, int], level: float) -> None:
    result = compare_predictions(*pair(*table))
    (low, high), (lower, higher) = interval_at(result, level), interval_at(result, (1 + level) / 2)
    assert lower <= low <= high <= higher


@given(tables, st.floats(0.01, 0.99), st.booleans())
def test_p_is_below_alpha_exactly_where_the_interval_excludes_0(
    table: tuple[int, int, int], level: float, fixed: bool
) -> None:
    result = compare_predictions(*pair(*table), level=level, fixed_test_set=fixed)
    if abs(result.p_value - (1 - level)) > 1e-9:
        excluded = result.ci_low > 0 or result.ci_high < 0
        assert (result.p_value <= 1 - level) is excluded


def test_one_seed_is_mcnemars_exact_test_and_its_own_interval() -> None:
    a = np.array([[True] * 15 + [False] * 5 + [True] * 180])
    b = np.array([[False] * 15 + [True] * 5 + [True] * 180])
    result = compare_predictions(a, b)
    assert result.method is Method.ONE_SEED
    assert result.p_value == pytest.approx(scipy.stats.binomtest(15, 20).pvalue, rel=1e-12)
    reach = scipy.stats.norm.ppf(0.975) * np.sqrt(15 + 5 + 1 - 10**2 / 202) / 202
    assert (result.ci_low, result.ci_high) == pytest.approx((10 / 202 - reach, 10 / 202 + reach), rel=1e-12)
    assert result.seed_variance is result.seed_share is result.pair_correlation is None


def test_two_seeds_are_valid_and_wide() -> None:
    a, b = pair(seeds=5)
    two, five = compare_predictions(a[:2], b[:2]), compare_predictions(a, b)
    assert two.method is Method.CROSSED
    assert two.pair_correlation is None  # two points always lie on a line
    assert two.ci_high - two.ci_low > five.ci_high - five.ci_low


def test_pairing_is_measured() -> None:
    shared = np.random.default_rng(0).random((8, 1)) * 0.1
    draws = np.random.default_rng(1).random((2, 8, 3_000))
    a, b = draws < 0.8 + shared
    result = compare_predictions(a, b)
    assert result.pair_correlation == pytest.approx(np.corrcoef(a.mean(1), b.mean(1))[0, 1])
    assert result.pair_correlation is not None and result.pair_correlation > 0.8
    assert compare_predictions(np.tile(a[:1], (4, 1)), b[:4]).pair_correlation is None


def test_a_collapsed_seed_is_named() -> None:
    a, b = pair(seeds=5, examples=2_000)
    b[3, :600] = False
    result = compare_predictions(a, b, seeds=[10, 11, 12, 13, 14])
    (collapse,) = result.collapsed
    assert (collapse.contender, collapse.seed) == ("b", 13)
    assert collapse.accuracy == b[3].mean()
    assert compare_predictions(*pair(seeds=5, examples=2_000)).collapsed == ()


def test_missing_seeds_are_left_out_and_named() -> None:
    a, b = pair(seeds=5)
    runs_a, runs_b = {s: a[s] for s in (0, 1, 2, 4)}, {s: b[s] for s in (4, 2, 0, 3)}
    result = compare_runs(runs_a, runs_b)
    assert result.missing_seeds == (1, 3)
    assert result.ci_low == compare_predictions(a[[0, 2, 4]], b[[0, 2, 4]]).ci_low


def test_unpaired_seeds_have_a_t_for_each_side() -> None:
    a, b = pair(seeds=6)
    result = compare_unpaired(a, b[:4])
    assert result.method is Method.UNPAIRED
    squares = [
        scipy.stats.t.ppf(0.975, len(rows) - 1) ** 2 * rows.mean(1).var(ddof=1) / len(rows)
        for rows in (a, b[:4])
    ]
    images = scipy.stats.t.ppf(0.975, 399) ** 2 * result.test_variance
    assert result.ci_high - result.difference == pytest.approx(np.sqrt(sum(squares) + images), rel=1e-12)
    assert compare_unpaired(b[:4], a).p_value == pytest.approx(result.p_value, rel=1e-9)


def test_unpaired_seeds_of_unlike_number_are_covered() -> None:
    """Two seeds of the one that varies more, ten of the other: Welch's degrees of freedom cover 88%."""
    rng, covered = np.random.default_rng(0), []
    for _ in range(400):
        a = right_or_wrong(rng, (0.9,), 2, 400, luck=0.3)[0]
        b = right_or_wrong(rng, (0.9,), 10, 400, luck=0.1)[0]
        found = compare_unpaired(a, b)
        covered.append(found.ci_low <= 0.0 <= found.ci_high)
    assert 0.93 <= np.mean(covered) <= 0.985


def test_the_error_of_the_images_part_is_that_of_many_draws() -> None:
    """Over 600 studies of 4 seeds and 100 images: the mean of what is told is the spread that there is."""
    rng, found = np.random.default_rng(0), {compare_predictions: [], compare_unpaired: []}
    for _ in range(600):
        a, b = right_or_wrong(rng, (0.8, 0.7), 4, 100)
        for compare, told in found.items():
            result = compare(a, b)
            told.append((result.test_variance, result.test_error))
    for told in found.values():
        variances, errors = np.transpose(told)
        assert np.mean(errors) == pytest.approx(np.std(variances), rel=0.2)


def test_unpaired_and_paired_agree_where_seeds_pair_nothing() -> None:
    tests = []
    for seed in range(100):
        a, b = pair(seed, seeds=8, examples=300)
        tests.append((compare_predictions(a, b).test_variance, compare_unpaired(a, b).test_variance))
    paired, unpaired = np.mean(tests, axis=0)
    assert unpaired == pytest.approx(paired, rel=0.05)


def test_a_difference_of_differences_is_one_more_array() -> None:
    a, b, c, d = (
        x.astype(float) for x in right_or_wrong(np.random.default_rng(0), (0.9, 0.7, 0.6, 0.6), 5, 2_000)
    )
    result = compare_scores((a - b) - (c - d), bound=2.0)
    assert result.ci_low < 0.2 < result.ci_high
    assert result.ci_low > 0.1


def test_seeds_that_agree_are_still_rounded_to_an_image() -> None:
    """On a fixed test set, two seeds with the same lead would leave an interval of no width."""
    a = np.array([[True] * 8 + [False] * 2] * 2)
    b = np.array([[True] * 7 + [False] * 3] * 2)
    result = compare_predictions(a, b, fixed_test_set=True)
    reach = scipy.stats.t.ppf(0.975, 1) * np.sqrt(1 / (12 * 10**2 * 2))
    assert (result.ci_low, result.ci_high) == pytest.approx((0.1 - reach, 0.1 + reach), rel=1e-12)
    assert 0.05 < result.p_value < 1


def test_few_seeds_on_a_small_fixed_test_set_are_covered() -> None:
    """Tied seeds without that rounding: 78 to 84% with 2 seeds and 60 images."""
    rng = np.random.default_rng(3)
    chance = np.clip(rng.normal(0.8, 0.3, (2, 60)), 0, 1)  # of each image, fixed
    truth = float(chance[0].mean() - chance[1].mean())
    covered = []
    for _ in range(400):
        a, b = (rng.random((2, 60)) < row for row in chance)
        found = compare_predictions(a, b, fixed_test_set=True)
        covered.append(found.ci_low <= truth <= found.ci_high)
    assert 0.93 <= np.mean(covered) <= 1.0


def test_brier_scores_have_no_pseudo_images() -> None:
    """Pseudo-images at -2 and 2, where no score comes near, made the interval up to twice too wide."""
    rng = np.random.default_rng(0)
    image = 0.02 * rng.standard_normal((300, 1, 200))
    draws = 0.01 + image + 0.02 * rng.standard_normal((300, 4, 200))
    found = [compare_scores(scores, bound=2.0, pseudo_images=False) for scores in draws]
    assert found[0] == replace(compare_scores(draws[0], bound=None), lowest=-2.0, highest=2.0)
    assert 0.92 <= np.mean([one.ci_low <= 0.01 <= one.ci_high for one in found]) <= 0.985


def test_one_accuracy_has_its_pseudo_images_at_0_and_1() -> None:
    """By hand: one seed right on 9 of 10 images, with one more right and one more wrong (Agresti & Coull)."""
    scores = np.array([[1.0] * 9 + [0.0]])
    result = compare_scores(scores, bound=1.0, lowest=0.0)
    p = 10 / 12
    reach = scipy.stats.norm.ppf(0.975) * np.sqrt(p * (1 - p) / 12)
    assert (result.ci_low, result.ci_high) == pytest.approx((p - reach, min(p + reach, 1.0)), rel=1e-12)
    sure = compare_scores(np.ones((3, 500)), bound=1.0, lowest=0.0)
    assert 0.99 < sure.ci_low < sure.ci_high == 1.0


def test_the_share_of_the_seeds_is_a_range_that_holds_the_true_one() -> None:
    rng, held, points = np.random.default_rng(0), [], []
    luck, image, n = 0.5, 0.3, 3
    truth = (luck**2 / n) / (luck**2 / n + image**2)
    for _ in range(400):
        # Half a point each way, and a thousand images whose taste is known well.
        scores = luck * rng.standard_normal((n, 1)) + image * 1000**0.5 * rng.standard_normal((1, 1000))
        share = compare_scores(scores, bound=None).seed_share
        assert share is not None
        held.append(share[0] <= truth <= share[1])
        points.append(share[1] - share[0])
    assert 0.86 <= np.mean(held) <= 0.94
    assert np.mean(points) > 0.4  # three seeds say little of it
    tied = np.tile(rng.random(50) < 0.5, (3, 1)).astype(float)
    assert compare_scores(tied, bound=None).seed_share is not None  # rounding alone
    assert compare_predictions(*(row[:1] for row in pair())).seed_share is None


def test_losses_take_the_same_algebra_without_a_bound() -> None:
    scores = np.random.default_rng(0).normal(0.5, 2.0, (4, 300))
    plain, scaled = compare_scores(scores, bound=None), compare_scores(10 * scores, bound=None)
    assert scaled.ci_low == pytest.approx(10 * plain.ci_low, rel=1e-12)
    assert scaled.p_value == pytest.approx(plain.p_value, rel=1e-9)
    one = compare_scores(scores[:1], bound=None)
    expected = scipy.stats.ttest_1samp(scores[0], 0.0)
    assert one.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert one.ci_low == pytest.approx(expected.confidence_interval(0.95).low, rel=1e-9)


@pytest.mark.parametrize(("seeds", "bound"), list(product((1, 4), (1.0, None))))
def test_a_comparison_survives_json(seeds: int, bound: float | None) -> None:
    a, b = pair(seeds=seeds)
    result = compare_scores(a.astype(float) - b, bound=bound)
    adapter = TypeAdapter(Comparison)
    assert adapter.validate_json(json.dumps(dataclasses.asdict(result), allow_nan=False)) == result
    whole = compare_predictions(a, b)
    assert adapter.validate_json(json.dumps(dataclasses.asdict(whole), allow_nan=False)) == whole


@settings(max_examples=30)
@given(st.floats(0.5, 0.999))
def test_another_level_is_the_same_as_asking_for_it_at_once(level: float) -> None:
    a, b = pair()
    assert at_level(compare_predictions(a, b), level) == compare_predictions(a, b, level=level)


def test_what_cannot_be_compared_says_why() -> None:
    a, b = pair()
    with pytest.raises(EvidenceError, match=r"one shape .* got \(5, 400\) and \(4, 400\).*compare_runs"):
        compare_predictions(a, b[:4])
    with pytest.raises(EvidenceError, match=r"level must lie between 0 and 1, such as 0\.95; got 95"):
        compare_predictions(a, b, level=95.0)
    with pytest.raises(EvidenceError, match="fixed test set needs at least 2 seeds, got 1"):
        compare_predictions(a[:1], b[:1], fixed_test_set=True)
    with pytest.raises(EvidenceError, match="a run that diverged cannot be compared"):
        compare_scores(np.full((2, 3), np.nan), bound=None)
    with pytest.raises(EvidenceError, match=r"within -1\.\.1, got 2"):
        compare_scores(np.full((2, 3), 2.0), bound=1.0)
    with pytest.raises(EvidenceError, match=r"at least 1 seed and 2 test examples, got shape \(0, 3\)"):
        compare_scores(np.zeros((0, 3)), bound=1.0)
    with pytest.raises(EvidenceError, match="at least 2 test examples, got 1"):
        compare_scores(np.zeros((1, 1)), bound=1.0)
    with pytest.raises(EvidenceError, match="number the 5 rows of the predictions, got 2"):
        compare_predictions(a, b, seeds=[1, 2])
    with pytest.raises(EvidenceError, match=r"no seed in common \(\[0\] and \[1\]\)"):
        compare_runs({0: a[0]}, {1: b[0]})
    with pytest.raises(EvidenceError, match=r"same test images, got \[300, 400\] predictions"):
        compare_runs({0: a[0]}, {0: b[0, :300]})
    with pytest.raises(EvidenceError, match="same test images, got 400 and 300"):
        compare_unpaired(a, b[:, :300])
    with pytest.raises(EvidenceError, match="at least 2 of each contender, got 5 and 1"):
        compare_unpaired(a, b[:1])
