"""A paper's sentence: bounds over every overlap of errors, against brute force."""

import numpy as np
import pytest
from scipy import stats

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.numbers import bound_numbers, numbers_text, read_numbers


def test_the_bounds_hold_for_every_overlap_and_are_reached():
    (bound,) = bound_numbers(read_numbers("resnet 0.90, vit 0.80, n=50"))
    p_values = []
    for only_b in range(6):  # 5 errors of a; b gets right as many of them as can be
        wins = only_b + 5
        p_values.append(stats.binomtest(wins, wins + only_b).pvalue)
    assert bound.best.p_value == pytest.approx(min(p_values))
    assert bound.worst.p_value == pytest.approx(max(p_values))
    assert bound.best.p_value < bound.independent.p_value < bound.worst.p_value
    assert (
        bound.finding == "not shown whatever the overlap"
        if min(p_values) > 0.05
        else "depends on the overlap"
    )


def test_a_large_lead_is_shown_and_a_small_one_depends():
    (large,) = bound_numbers(read_numbers("a: 90%, b: 70%, n=1000"))
    (small,) = bound_numbers(read_numbers("resnet 93.1, vit 92.8, n=10000"))
    assert large.finding == "shown whatever the overlap"
    assert small.finding == "depends on the overlap"
    assert "depends on the overlap of their errors" in numbers_text(small)
    assert "say nothing about other seeds" in numbers_text(small)
    (tiny,) = bound_numbers(read_numbers("resnet 93.1, vit 93.1, n=10000"))
    assert tiny.finding == "depends on the overlap"  # rounding leaves a tenth of a point open
    assert tiny.images_needed is None


def test_the_probability_of_a_false_claim_is_that_of_simulated_shares():
    (bound,) = bound_numbers(read_numbers("a 0.90, b 0.80, n=50"))
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.array([36, 10, 5, 4]) + 1.0, size=200_000)  # worst: 10 only a, 5 only b
    assert bound.worst.false_claim == pytest.approx((shares[:, 1] <= shares[:, 2]).mean(), abs=0.005)


def test_standard_deviations_over_seeds_count():
    (few,) = bound_numbers(read_numbers("a 93.1 +- 0.2, b 92.1 ± 0.3, n=10000, seeds=3"))
    (many,) = bound_numbers(read_numbers("a 93.1 +- 0.2, b 92.1 ± 0.3, n=10000, seeds=30"))
    assert many.worst.p_value < few.worst.p_value
    assert many.independent.high - many.independent.low < few.independent.high - few.independent.low
    reach = stats.t.ppf(0.975, 2) * np.sqrt((0.002**2 + 0.003**2) / 3)
    assert few.best.high == pytest.approx(0.01 + 0.001 + reach, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "two accuracies and the number of test images"),
        ("resnet 93.1, vit 92.8", "two accuracies and the number of test images"),
        ("resnet 93.1, n=100", "two accuracies"),
        ("resnet, vit 92.8, n=100", '"resnet" cannot be read'),
        ("resnet 193.1, vit 92.8, n=100", "between 0 and 100%, got 193.1 for resnet"),
        ("a 93.1, a 92.8, n=100", "names a contender twice"),
        ("a 93.1, b 92.8, n=1", "at least 2 test images"),
        ("a 93.1, b 92.8, n=100, seeds=5", "each accuracy needs its standard deviation"),
    ],
)
def test_a_sentence_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(EvidenceError, match="--numbers") as caught:
        read_numbers(text)
    assert message in str(caught.value)
