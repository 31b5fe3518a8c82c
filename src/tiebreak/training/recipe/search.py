"""The points that a search tries, and which of them go on: the same for all contenders."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64

from tiebreak.rng import derive_seed
from tiebreak.training.recipe.space import Range

DIGITS = 3  # significant ones of a point's values, so that a person can type them
HALVING_FACTOR = 3  # of trials that go on, and of epochs between rungs


def unit_points(seed: int, dimensions: int, trials: int) -> Float64[np.ndarray, "trials dimensions"]:
    """Scrambled Sobol points in the unit cube; more trials begin with the same points.

    Searches of one seed over as many settings share them, whatever the contender.
    """
    from scipy.stats import qmc  # a second to import, and only searches need it

    sobol = qmc.Sobol(dimensions, scramble=True, rng=derive_seed(seed, "search"))
    return np.asarray(sobol.random_base2(math.ceil(math.log2(trials)))[:trials])


def search_points(space: Mapping[str, Range], seed: int, trials: int) -> list[dict[str, float]]:
    """The settings of each trial of a search."""
    points = unit_points(seed, len(space), trials)
    return [
        {
            name: _rounded(name, each.at(float(share)))
            for (name, each), share in zip(space.items(), point, strict=True)
        }
        for point in points
    ]


def _rounded(name: str, value: float) -> float:
    return round(value) if name == "batch_size" else float(f"{value:.{DIGITS}g}")


def rungs(epochs: int, trials: int) -> list[int]:
    """After which epochs trials are dropped, and the last epoch: successive halving (Jamieson & Talwalkar
    2016), a third going on each time.

    >>> rungs(9, 9), rungs(5, 6), rungs(1, 6)
    ([1, 3, 9], [1, 2, 5], [1])
    """
    found = [epochs]
    while trials > HALVING_FACTOR ** (len(found) - 1) and found[0] > 1:
        found.insert(0, max(1, math.ceil(epochs / HALVING_FACTOR ** len(found))))
    return found


def survivors(trials: list[int], score: Mapping[int, tuple[float, float]]) -> list[int]:
    """The third of the trials, at least one, that goes on: the highest scores, of equal ones the first."""
    best = sorted(trials, key=lambda trial: score[trial], reverse=True)
    return sorted(best[: math.ceil(len(trials) / HALVING_FACTOR)])
