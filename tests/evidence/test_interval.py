"""The quadrature interval against the limits it must meet, and the algebra behind A and B."""

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.interval import (
    Part,
    cluster_scores,
    half_width,
    p_value,
    pseudo_examples,
    summarise,
    t_quantile,
)


def part(variance: float, df: float | None = None, split: float = 1.0) -> Part:
    return Part(variance=variance, df=df, split=split)


def test_without_a_test_part_it_is_the_t_interval() -> None:
    width = half_width(0.05, part(4e-4, 4), part(0.0, 99))
    assert width == pytest.approx(scipy.stats.t.ppf(0.975, 4) * 0.02, rel=1e-13)


def test_without_a_seed_part_it_is_the_normal_interval() -> None:
    width = half_width(0.05, part(0.0, 4), part(4e-4))
    assert width == pytest.approx(scipy.stats.norm.ppf(0.975) * 0.02, rel=1e-13)


def test_both_parts_add_in_quadrature_and_alpha_can_be_split() -> None:
    seeds = scipy.stats.t.ppf(1 - 0.05 / 12, 4) * 0.03
    images = scipy.stats.norm.ppf(1 - 0.75 * 0.025) * 0.02
    width = half_width(0.05, part(9e-4, 4, 1 / 6), part(4e-4, None, 0.75))
    assert width == pytest.approx(math.hypot(seeds, images), rel=1e-13)


@given(
    st.floats(1e-9, 1.0),
    st.floats(0, 1e-2),
    st.floats(1, 40),
    st.floats(0, 1e-2),
    st.sampled_from([9.0, 9999.0, None]),
    st.sampled_from([(1.0, 1.0), (1 / 6, 0.75)]),
    st.sampled_from([0.0, 1e-5]),
)
def test_the_p_value_is_the_alpha_whose_interval_just_reaches(
    distance: float,
    seed: float,
    df: float,
    test: float,
    test_df: float | None,
    split: tuple[float, float],
    third: float,
) -> None:
    parts = (part(seed, df, split[0]), part(test, test_df, split[1]), part(third, 2.0))
    p = p_value(distance, *parts)
    assert 0 <= p <= 1
    if 1e-150 < p < 1 - 1e-9:  # further out SciPy's quantile of t is wrong for odd df
        assert half_width(p, *parts) == pytest.approx(distance, rel=1e-9, abs=1e-8)


def test_a_p_value_is_safe_at_both_ends() -> None:
    assert p_value(0.0, part(1e-4, 2.0), part(1e-4)) == 1.0
    assert p_value(0.0, part(0.0, 2.0), part(0.0)) == 1.0
    assert p_value(0.1, part(0.0, 2.0), part(0.0)) == 0.0
    assert p_value(1e-300, part(1e-4, 2.0), part(1e-4)) == pytest.approx(1.0)
    assert p_value(1.0, part(1e-18, 4.0), part(1e-12)) == pytest.approx(
        2 * scipy.stats.t.sf(1e9, 4), rel=1e-6
    )  # the test part, at a million standard errors, adds nothing
    assert p_value(1.0, part(1e-30, 9.0), part(1e-30)) >= 0.0
    assert p_value(-0.03, part(1e-4, 3.0), part(1e-4)) == p_value(0.03, part(1e-4, 3.0), part(1e-4))


def test_small_tails_keep_their_digits() -> None:
    assert t_quantile(1e-20, math.inf) == pytest.approx(scipy.stats.norm.isf(1e-20), rel=1e-12)
    assert t_quantile(1e-20, 3) == pytest.approx(scipy.stats.t.isf(1e-20, 3), rel=1e-9)


def test_the_variance_parts_are_unbiased() -> None:
    """Known variances of seed, example and both: the means of A and B over many draws are what they claim."""
    rng = np.random.default_rng(1)
    seed_sd, example_sd, noise_sd, n, m = 0.3, 0.5, 1.0, 4, 30
    parts = [
        summarise(
            seed_sd * rng.standard_normal((n, 1))
            + example_sd * rng.standard_normal((1, m))
            + noise_sd * rng.standard_normal((n, m))
        )
        for _ in range(4_000)
    ]
    assert np.mean([p.seed for p in parts]) == pytest.approx((seed_sd**2 + noise_sd**2 / m) / n, rel=0.04)
    # B is cut off at 0, which these variances seldom reach.
    assert np.mean([p.test for p in parts]) == pytest.approx(example_sd**2 / m, rel=0.06)
    assert np.mean([p.noise for p in parts]) == pytest.approx(noise_sd**2, rel=0.02)
    assert np.var([p.mean for p in parts]) == pytest.approx(
        np.mean([p.seed + p.test for p in parts]), rel=0.08
    )


def test_pseudo_examples_are_worth_what_two_real_ones_are() -> None:
    """One at +1, one at -1 for half a weight each and one at 0: by hand, for a single wrong image of ten."""
    scores = np.zeros((2, 10))
    scores[:, 0] = 1.0
    ss = 2 * (0.9**2 + 9 * 0.1**2)
    expected = (ss + 2 * (1 + 2 * 0.1**2)) / 11 / (2 * 12)
    assert summarise(scores, pseudo_examples(-1.0, 1.0)).test == pytest.approx(expected, rel=1e-12)
    assert summarise(scores).test == pytest.approx(np.var(scores[0], ddof=1) / 10, rel=1e-12)


def test_identical_predictions_still_have_a_width() -> None:
    parts = summarise(np.zeros((3, 1000)), pseudo_examples(-1.0, 1.0))
    assert half_width(0.05, part(parts.seed, 2), part(parts.test, 999)) == pytest.approx(1.96e-3, rel=0.01)


def test_groups_of_equal_size_are_their_means() -> None:
    scores = np.random.default_rng(0).standard_normal((3, 12))
    groups = np.repeat(np.arange(4), 3)
    assert cluster_scores(scores, groups) == pytest.approx(scores.reshape(3, 4, 3).mean(axis=2))


def test_groups_of_any_size_leave_each_seeds_mean_alone() -> None:
    scores = np.random.default_rng(0).standard_normal((3, 12))
    groups = np.array(list("aaaaaabbbccd"))
    assert cluster_scores(scores, groups).mean(axis=1) == pytest.approx(scores.mean(axis=1))


def test_one_seed_or_one_example_has_no_variance() -> None:
    with pytest.raises(EvidenceError, match="at least 2 seeds and 2 test examples, got 1 and 5"):
        summarise(np.zeros((1, 5)))


def test_groups_must_fit() -> None:
    with pytest.raises(EvidenceError, match=r"one group per test example \(12\), got shape \(3,\)"):
        cluster_scores(np.zeros((2, 12)), np.arange(3))
    with pytest.raises(EvidenceError, match="at least 2 groups of test examples, got 1"):
        cluster_scores(np.zeros((2, 12)), np.zeros(12))


def test_statistics_load_without_torch_or_plots() -> None:
    modules = "tiebreak.evidence.claims.outcome, tiebreak.evidence.compare.sentence"
    code = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "matplotlib", "scipy.stats", "pandas"} & set(loaded)
