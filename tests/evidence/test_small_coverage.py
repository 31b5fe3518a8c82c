"""A small simulation with a fixed seed: coverage that a wrong formula misses (see benchmarks/coverage.py)."""

import numpy as np
import pytest
from crossed_data import right_or_wrong

from tiebreak.evidence.compare.interval import leg, pseudo_examples, summarise

REPS = 600
ERROR = (0.05 * 0.95 / REPS) ** 0.5


def draw(luck: float, taste: float, n: int, m: int) -> np.ndarray:
    """Mean, A and B of many comparisons whose true difference is 2 points: [3, rep]."""
    rng = np.random.default_rng([n, m])
    found = []
    for _ in range(REPS):
        a, b = right_or_wrong(rng, (0.90, 0.88), n, m, luck=luck, taste=taste)
        parts = summarise(a.astype(np.float64) - b, pseudo_examples(-1.0, 1.0))
        found.append((parts.mean, parts.seed, parts.test))
    return np.array(found).T


def reach(seed: np.ndarray | float, seed_df: int, test: np.ndarray | float, test_df: int) -> np.ndarray:
    return np.hypot(leg(0.05, seed, seed_df), leg(0.05, test, test_df))


# Where seeds, where images, and where both make the luck.
@pytest.mark.parametrize(
    ("luck", "taste", "n", "m"),
    [
        (0.25, 0.02, 3, 500),
        (0.25, 0.02, 8, 500),
        (0.0, 0.30, 5, 500),
        (0.1, 0.12, 5, 800),
        (0.1, 0.12, 2, 800),
    ],
)
def test_the_interval_covers(luck: float, taste: float, n: int, m: int) -> None:
    mean, seed, test = draw(luck, taste, n, m)
    covered = np.mean(np.abs(mean - 0.02) <= reach(seed, n - 1, test, m - 1))
    assert 0.95 - 3.5 * ERROR <= covered <= 0.99


def test_either_part_alone_would_not_cover() -> None:
    """These worlds can tell a wrong formula: with one source left out, coverage breaks down."""
    mean, seed, test = draw(0.25, 0.02, 8, 500)
    assert np.mean(np.abs(mean - 0.02) <= reach(0.0, 7, test, 499)) < 0.8
    mean, seed, test = draw(0.0, 0.30, 5, 500)
    assert np.mean(np.abs(mean - 0.02) <= reach(seed, 4, 0.0, 499)) < 0.91
    truth = float(np.var(mean))
    assert np.mean(seed + test) == pytest.approx(truth, rel=0.2)
