"""Failed trainings among good ones: no interval from a few seeds can foresee them, so they are named."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

COLLAPSE_SDS = 3.0  # robust standard deviations below the median ...
COLLAPSE_DROP = 0.02  # ... and at least this much accuracy: a failed training, not the spread of good ones


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """A seed in which a contender fell far below its other seeds."""

    contender: Literal["a", "b"]
    seed: int
    accuracy: float
    median: float


def find_collapsed(
    contender: Literal["a", "b"], accuracy: np.ndarray, seeds: Sequence[int], n_examples: int
) -> tuple[Collapse, ...]:
    """Seeds more than 3 robust SDs and 2 points below the median of their contender (of at least 3 seeds).

    The median absolute deviation of a few good seeds is often tiny by chance, so it is never taken as less
    than the sampling error of one accuracy. Without the floor and the two points, one contender in nine (of
    ten normal seeds; one in six of three) would see a good seed named.
    """
    if len(accuracy) < 3:
        return ()
    median = float(np.median(accuracy))
    spread = 1.4826 * float(np.median(np.abs(accuracy - median)))
    floor = math.sqrt(median * (1 - median) / n_examples)
    drop = max(COLLAPSE_SDS * max(spread, floor), COLLAPSE_DROP)
    return tuple(
        Collapse(contender=contender, seed=int(seed), accuracy=float(value), median=median)
        for seed, value in zip(seeds, accuracy, strict=True)
        if median - value > drop
    )
