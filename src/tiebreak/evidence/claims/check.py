"""All that claims can be about, and what a study shows of it."""

import numpy as np

from tiebreak.evidence.claims.grammar import parse_claim
from tiebreak.evidence.claims.outcome import ClaimOutcome, Values, judge_claim
from tiebreak.evidence.compare.quantities import judged_seeds, measure_scores
from tiebreak.results.results import Results
from tiebreak.results.run import Run


def check_claims(results: Results, claims: list[str]) -> tuple[ClaimOutcome, ...]:
    """Judge claims such as "cnn - mlp >= 0.15" one by one by what a study measured.

    Raises: ClaimError if one cannot be read or names what was not measured; EvidenceError if no seed is
    finished for every contender, or no look is complete.
    """
    parsed = [parse_claim(text) for text in claims]
    seeds, level = judged_seeds(results)
    measured = measured_values(results, seeds)
    return tuple(judge_claim(claim, measured, level=level) for claim in parsed)


def measured_values(results: Results, seeds: tuple[int, ...]) -> dict[str, dict[str, Values]]:
    """What claims can be about, by contender and metric: exact numbers, arrays over seeds (and images)."""
    measured: dict[str, dict[str, Values]] = {}
    loss = measure_scores(results, seeds, "loss")
    for contender in results.contenders:
        label = contender.label
        runs = [contender.runs[seed] for seed in seeds]
        measured[label] = {
            "test_acc": np.stack([run.correct(results.examples.truth) for run in runs]),
            "test_loss": -loss.scores[label],
            "val_acc": _last(runs, "val_acc"),
            "val_loss": _last(runs, "val_loss"),
            "gap": _last(runs, "train_acc") - _last(runs, "val_acc"),
            **_costs(runs),
        }
    return measured


def _costs(runs: list[Run]) -> dict[str, Values]:
    cost = runs[0].cost
    exact: dict[str, Values] = {} if cost is None else {"params": cost.params, "flops": cost.flops}
    timings = [run.timing for run in runs if run.timing]
    return exact | {
        "train_seconds": np.array([timing.train_seconds for timing in timings]),
        "images_per_second": np.array([timing.images_per_second for timing in timings]),
    }


def _last(runs: list[Run], curve: str) -> np.ndarray:
    return np.array([run.history[curve][-1] for run in runs if run.history])  # type: ignore[literal-required]
