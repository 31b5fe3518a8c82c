"""Points of a search against SciPy's, and halving against full training in simulated spaces."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from tiebreak.rng import derive_seed
from tiebreak.training.recipe.search import rungs, search_points, survivors, unit_points
from tiebreak.training.recipe.space import USUAL, Range


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 40))
def test_points_are_scipys_and_more_trials_keep_the_first(seed: int, dimensions: int, trials: int) -> None:
    sobol = qmc.Sobol(dimensions, scramble=True, rng=derive_seed(seed, "search"))
    expected = sobol.random_base2(math.ceil(math.log2(trials)))
    points = unit_points(seed, dimensions, trials)
    assert np.array_equal(points, expected[:trials])
    assert np.array_equal(unit_points(seed, dimensions, trials + 7)[:trials], points)


def test_points_lie_in_their_ranges_with_few_digits() -> None:
    space = {name: usual["sgd"] for name, usual in USUAL.items()}
    for point in search_points(space, 3, 32):
        for name, value in point.items():
            assert space[name].low <= value * 1.01 and value <= space[name].high * 1.01
            assert value == float(f"{value:.3g}")
        assert point["batch_size"] == int(point["batch_size"])


def test_a_range_is_even_over_its_scale() -> None:
    assert Range(low=1e-4, high=1e-2).at(0.5) == pytest.approx(1e-3)
    assert Range(low=0.0, high=0.2, log=False).at(0.5) == pytest.approx(0.1)


@given(st.integers(1, 300), st.integers(2, 200))
def test_rungs_rise_to_the_last_epoch(epochs: int, trials: int) -> None:
    found = rungs(epochs, trials)
    assert found[-1] == epochs and found == sorted(set(found)) and found[0] >= 1


def test_halving_seldom_takes_what_full_training_would_rank_low() -> None:
    """100 spaces of learning curves: a height and a speed for each point, and the luck of each epoch."""
    low = 0
    for draw in range(100):
        rng = np.random.default_rng(draw)
        height, speed = rng.normal(0.7, 0.05, 12), rng.uniform(0.5, 2.0, 12)
        curves = height[:, None] * (1 - np.exp(-speed[:, None] * np.arange(1, 10))) + rng.normal(
            0, 0.01, (12, 9)
        )
        going = list(range(12))
        for epoch in rungs(9, 12)[:-1]:
            going = survivors(going, {trial: (curves[trial, epoch - 1], 0.0) for trial in going})
        best = max(going, key=lambda trial: curves[trial, -1])
        low += int(np.argsort(np.argsort(-curves[:, -1]))[best] >= 6)
    assert low <= 5
