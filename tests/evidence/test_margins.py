"""What a study could have shown, and "better by at least": against the interval and the power behind it."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Comparison, interval_at
from tiebreak.evidence.compare.pair import compare_predictions
from tiebreak.evidence.compare.power import detectable_difference, power, setting_from_pilot
from tiebreak.evidence.compare.sentence import sentence
from tiebreak.evidence.compare.verdict import Outcome, judge, superiority_p


def compared(lead: float, seeds: int = 5, images: int = 1_500, draw: int = 0) -> Comparison:
    rng = np.random.default_rng(draw)
    hard = rng.random(images)
    a, b = (rng.random((seeds, images)) < 0.7 * hard + 0.3 + half for half in (lead / 2, -lead / 2))
    return compare_predictions(a, b)


@example(2568, 3)  # three seeds so far apart that no difference could have been shown
@given(st.integers(0, 10_000), st.integers(3, 12))
def test_what_could_have_been_shown_has_power_of_four_in_five(draw: int, seeds: int) -> None:
    comparison = compared(0.0, seeds, 300, draw)
    found = detectable_difference(comparison, comparisons=3)
    setting = setting_from_pilot(comparison, comparisons=3)
    if found is None:
        assert power(setting, seeds, 1.0) < 0.8
    else:
        assert power(setting, seeds, found) == pytest.approx(0.8, abs=1e-4)


def test_two_seeds_could_have_shown_nothing() -> None:
    assert detectable_difference(compared(0.0, seeds=2)) is None


def test_undecided_says_what_it_could_have_shown() -> None:
    comparison = compared(0.0, draw=3)
    verdict = judge(comparison)
    assert verdict.outcome is Outcome.UNDECIDED and verdict.detectable is not None
    expected = f"It could have shown {100 * verdict.detectable:.2g} points or more (80% power). "
    assert expected in sentence(verdict, "cnn", "mlp")


@given(st.floats(0.001, 0.2), st.integers(0, 1_000))
def test_better_by_at_least_is_what_the_interval_says(margin: float, draw: int) -> None:
    comparison = compared(0.06, images=400, draw=draw)
    verdict = judge(comparison, superiority=margin)
    low, high = interval_at(comparison, comparison.level)
    assert verdict.superior == (max(low, -high) > margin)
    assert superiority_p(comparison, margin) <= 1
    assert judge(comparison).p_value == verdict.p_value, "the margin changes nothing else"


@pytest.mark.parametrize(
    ("margin", "told"),
    [
        (0.02, ", and by at least 2 points."),
        (0.06, "; whether by at least 6 points is undecided."),
        (0.2, ", but by less than 20 points."),
    ],
)
def test_better_by_at_least_is_told(margin: float, told: str) -> None:
    verdict = judge(compared(0.06), superiority=margin)
    assert sentence(verdict, "cnn", "mlp").endswith(told)


def test_a_margin_that_is_none_is_refused() -> None:
    with pytest.raises(
        EvidenceError, match=r"a superiority margin must be above 0 \(0\.01 is one point\), got 0\."
    ):
        judge(compared(0.1), superiority=0.0)
