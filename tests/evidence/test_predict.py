"""The advice to an undecided study: what it says of more seeds on the same images, against what happens."""

import numpy as np
import pytest
from crossed_data import right_or_wrong

from tiebreak.evidence.compare.pair import compare_predictions
from tiebreak.evidence.compare.power import setting_from_pilot, smallest_detectable
from tiebreak.evidence.compare.predict import chance_of_deciding


def said_and_happened(n: int, in_all: int, reps: int) -> np.ndarray:
    """Of studies that n seeds leave undecided: the chance given to `in_all` seeds, and whether they did."""
    rng, found = np.random.default_rng([n, in_all]), []
    for rep in range(reps):
        behind = rng.uniform(0.0, 0.03)
        a, b = right_or_wrong(rng, (0.9, 0.9 - behind), in_all, (300, 800)[rep % 2], luck=0.05)
        now, later = compare_predictions(a[:n], b[:n]), compare_predictions(a, b)
        if now.p_value > 0.05:
            chance = chance_of_deciding(now, np.array([in_all])).item()
            found.append((chance, later.p_value <= 0.05))
    return np.array(found)


def test_the_chance_said_comes_true() -> None:
    """In thirds of what was said, as far as three seeds can know (the last rule: 13% where it said 80%)."""
    found = said_and_happened(3, 12, 260)
    order = np.argsort(found[:, 0])
    for third in np.array_split(order, 3):
        said, happened = found[third].mean(axis=0)
        error = (happened * (1 - happened) / len(third)) ** 0.5
        assert said - 3 * error - 0.1 <= happened <= said + 3 * error + 0.1
    assert np.ptp([found[third, 0].mean() for third in np.array_split(order, 3)]) > 0.4
    assert np.corrcoef(found.T)[0, 1] > 0.4


def test_more_seeds_on_the_same_images_are_sure_of_what_the_images_show() -> None:
    a, b = right_or_wrong(np.random.default_rng(1), (0.9, 0.87), 4, 500, luck=0.0, taste=0.3)
    now = compare_predictions(a, b)
    seeds = np.array([5, 20, 1_000_000])
    apart = abs(now.difference) / now.test_variance**0.5
    assert apart > 2.2  # the images alone decide it
    chances = chance_of_deciding(now, seeds)
    assert (chances > 0.7).all() and (chances < 0.95).all()  # the luck of those four seeds is left
    assert (chance_of_deciding(now, seeds, comparisons=10) < chances).all()
    near = compare_predictions(a, a ^ (np.random.default_rng(2).random(a.shape) < 0.02))
    assert chance_of_deciding(near, seeds, margin=0.05)[-1] > chance_of_deciding(near, seeds)[-1]


def test_a_plan_never_takes_the_images_to_leave_nothing_open() -> None:
    """B is estimated as 0 in a third of pilots of two seeds; what an estimate leaves open is still there."""
    rng, floors, nothing = np.random.default_rng(0), [], 0
    for _ in range(200):
        pilot = compare_predictions(*right_or_wrong(rng, (0.9, 0.9), 2, 400, taste=0.02))
        nothing += pilot.test_variance == 0
        assert pilot.test_error is not None
        setting = setting_from_pilot(pilot)
        assert setting.test_sd == pytest.approx(max(pilot.test_variance, 0.84 * pilot.test_error) ** 0.5)
        if pilot.test_variance == 0:
            floors.append(smallest_detectable(setting))
    assert nothing > 20
    assert min(floors) > 0.005
