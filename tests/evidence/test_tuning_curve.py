"""The accuracy that trials buy: against subsets counted one by one, and against the package opda."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opda.nonparametric import EmpiricalDistribution

from tiebreak.evidence.describe.tuning import best_of, best_of_bands, compare_curves, tuning_curve
from tiebreak.results.run import Trial, Tuned


def search(val: list[float], test: list[float], loss: list[float] | None = None) -> Tuned:
    losses = loss or [0.5] * len(val)
    trials = [
        Trial(values={"lr": 0.1}, val_acc=v, val_loss=ls, test_acc=t, epochs=1, seconds=1.0)
        for v, t, ls in zip(val, test, losses, strict=True)
    ]
    return Tuned(values={"lr": 0.1}, trial=1, seed=0, trials=tuple(trials))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7, unique=True))
def test_the_best_of_k_is_the_mean_over_all_subsets(values: list[float]) -> None:
    ordered = np.sort(values)
    for k, found in enumerate(best_of(ordered), start=1):
        assert found == pytest.approx(np.mean([max(some) for some in combinations(values, k)]))


@pytest.mark.parametrize("level", [0.5, 0.95])
@pytest.mark.parametrize("count", [6, 18, 60])
def test_bands_are_opdas(count: int, level: float) -> None:
    values = np.random.default_rng(count).beta(5, 2, count)
    lower, _, upper = EmpiricalDistribution.confidence_bands(values, level, a=0.0, b=1.0, method="ks")
    low, high = best_of_bands(values, 9, level)
    ns = np.arange(1, 10)
    # A distribution that lies lower gives a curve that lies higher.
    np.testing.assert_allclose(high, lower.average_tuning_curve(ns), rtol=0, atol=1e-6)
    np.testing.assert_allclose(low, upper.average_tuning_curve(ns), rtol=0, atol=1e-6)


def test_bands_hold_the_true_curve_as_often_as_they_say() -> None:
    """Uniform accuracies: the mean of the best of k is k / (k + 1)."""
    truth, held = np.array([k / (k + 1) for k in range(1, 7)]), 0
    for draw in range(300):
        low, high = best_of_bands(np.random.default_rng(draw).random(18), 6, 0.9)
        held += bool(((low <= truth) & (truth <= high)).all())
    assert held / 300 >= 0.9


def test_test_accuracy_is_of_what_validation_chooses() -> None:
    curve = tuning_curve("cnn", [search([0.9, 0.8], [0.5, 0.7]), search([0.6, 0.8], [0.4, 0.6])])
    assert curve is not None
    assert curve.test_acc == pytest.approx((0.55, 0.55))  # the winners': .5 and .6
    assert curve.val_acc == pytest.approx((0.775, 0.85))


def test_of_equal_accuracies_the_lower_loss_then_the_first_is_chosen() -> None:
    by_loss = tuning_curve("cnn", [search([0.9, 0.9], [0.1, 0.2], [0.4, 0.3])])
    the_first = tuning_curve("cnn", [search([0.9, 0.9], [0.1, 0.2])])
    assert by_loss is not None and the_first is not None
    assert (by_loss.test_acc[-1], the_first.test_acc[-1]) == (0.2, 0.1)


def test_trials_that_were_stopped_give_no_curve() -> None:
    stopped = search([0.9, 0.8], [0.5, None])  # type: ignore[list-item]
    assert tuning_curve("cnn", [stopped]) is None


@pytest.mark.parametrize(
    ("b", "told"),
    [
        ([0.1, 0.2, 0.3], "cnn leads at every budget from 1 trial to 3"),
        ([0.3, 0.5, 0.9], "cnn leads from 1 trial, mlp catches up at 3"),
        ([0.9, 0.9, 0.9], "mlp leads at every budget from 1 trial to 3"),
    ],
)
def test_who_leads_is_said(b: list[float], told: str) -> None:
    def rising(label: str, values: list[float]) -> object:
        found = tuning_curve(label, [search(values, values)])
        assert found is not None
        return found

    from dataclasses import replace

    curves = [
        replace(rising(label, values), test_acc=tuple(values))
        for label, values in (("cnn", [0.4, 0.6, 0.8]), ("mlp", b))
    ]
    assert compare_curves(*curves) == told
