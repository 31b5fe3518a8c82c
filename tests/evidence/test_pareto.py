"""Accuracy against cost: who is on the front, and with what intervals."""

import numpy as np
import pytest

from tiebreak.evidence.compare.pair import compare_scores
from tiebreak.evidence.compare.pareto import Candidate, Estimate, Place, candidate, places
from tiebreak.results.results import ContenderRuns, Examples, Results, Rule
from tiebreak.results.run import Run, Timing


def a_candidate(cost: float, accuracy: float, reach: float = 0.01) -> Candidate:
    return Candidate(
        label="x",
        study="s",
        seeds=3,
        accuracy=Estimate(mean=accuracy, low=accuracy - reach, high=accuracy + reach),
        cost=Estimate(mean=cost, low=cost, high=cost),
    )


def test_the_front_is_whom_nobody_beats_in_both() -> None:
    found = [
        a_candidate(1, 0.5),
        a_candidate(2, 0.7),
        a_candidate(3, 0.695),  # dearer and less accurate, but not for sure
        a_candidate(4, 0.6),
        a_candidate(9, 0.9),
        a_candidate(9, 0.9),  # as good as another: neither beats the other
    ]
    assert places(found) == (Place.FRONT, Place.FRONT, Place.NEAR, Place.BEHIND, Place.FRONT, Place.FRONT)


def test_intervals_are_those_of_seeds_and_images() -> None:
    rng = np.random.default_rng(0)
    truth = np.ones(200, dtype=np.int64)
    rows, seconds = (rng.random((3, 200)) < 0.8).astype(np.int64), [2.0, 2.5, 3.3]
    runs = {
        seed: Run(
            seed=seed,
            answers=row,
            timing=Timing(train_seconds=spent, evaluate_seconds=0.1, images_per_second=1.0),
        )
        for seed, (row, spent) in enumerate(zip(rows, seconds, strict=True))
    }
    contender = ContenderRuns(label="a", runs=runs, failed={})
    results = Results(
        source="s",
        examples=Examples(name="n", class_names=("w", "r"), truth=truth),
        rule=Rule(seeds=(0, 1, 2)),
        contenders=(contender,),
    )
    found = candidate(results, contender, "s", None)
    assert found is not None and found.seeds == 3
    expected = compare_scores(rows.astype(float), bound=1.0, lowest=0.0)
    assert (found.accuracy.low, found.accuracy.high) == (expected.ci_low, expected.ci_high)
    # The 97.5% point of t with 2 degrees of freedom is 4.303.
    reach = 4.303 * np.std(seconds, ddof=1) / np.sqrt(3)
    assert found.cost.mean == pytest.approx(2.6)
    assert found.cost.high == pytest.approx(2.6 + reach, rel=1e-3)
    by_flops = candidate(results, contender, "s", 5e9)
    assert by_flops is not None and by_flops.cost == Estimate(mean=5e9, low=5e9, high=5e9)
    bare = ContenderRuns(label="a", runs={0: Run(seed=0, answers=rows[0])}, failed={})
    alone = Results(source="s", examples=results.examples, rule=results.rule, contenders=(bare,))
    assert candidate(alone, bare, "s", None) is None
