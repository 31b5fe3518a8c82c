"""The same judgement for other quantities than accuracy, and all that claims can be about.

A study's rule (looks, equivalence margin) is about accuracy. What is asked beside it is judged by an ordinary
interval; where the study may have stopped early, at 1 - alpha / looks, which holds at any look by a union
bound.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tiebreak.errors import EvidenceError, did_you_mean
from tiebreak.evidence.claim_outcome import ClaimOutcome, Values, judge_claim
from tiebreak.evidence.claims import parse_claim
from tiebreak.evidence.comparison import Comparison, compare_scores
from tiebreak.evidence.judgement import Judgement, common_seeds
from tiebreak.evidence.quality import correct_on_test
from tiebreak.evidence.sentence import sentence
from tiebreak.evidence.simultaneous import rank
from tiebreak.evidence.until_decided import take_looks
from tiebreak.evidence.verdict import judge
from tiebreak.study.store import RunRecord, StoredStudy

TINY = float(np.finfo(np.float32).tiny)  # a probability of 0 that float32 could not hold


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Something measured on each test image of each seed, of which more is better."""

    scores: dict[str, Float[np.ndarray, "seed example"]]  # by contender
    bound: float | None  # no difference of two scores leaves [-bound, bound]
    unit: str
    scale: float  # from a score to its unit


def compare_quantity(stored: StoredStudy, quantity: str) -> tuple[Judgement, ...]:
    """Judge every pair by "accuracy", "loss", "brier", or the name of a class (accuracy on its images).

    A positive difference means that a is better; of the loss, a minus b is given with its sign changed.

    Raises: EvidenceError for an unknown quantity, a class without test images, or nothing to compare.
    """
    if len(stored.study.contenders) < 2:
        raise EvidenceError("a comparison needs at least 2 contenders, got 1.")
    seeds, level = judged_seeds(stored)
    measured = _measure(stored, seeds, quantity)

    def versus(a: str, b: str) -> Comparison:
        difference = measured.scores[a] - measured.scores[b]
        return compare_scores(difference, bound=measured.bound, level=level)

    means = {label: float(scores.mean()) for label, scores in measured.scores.items()}
    ranking = rank(means, versus, baseline=stored.study.baseline, level=level)
    judgements = []
    for pair in ranking.pairs:
        verdict = judge(pair.comparison, p_adjusted=pair.p_adjusted, n_comparisons=len(ranking.pairs))
        words = sentence(verdict, pair.a, pair.b, unit=measured.unit, scale=measured.scale)
        judgements.append(Judgement(a=pair.a, b=pair.b, verdict=verdict, sentence=words))
    return tuple(judgements)


def check_claims(stored: StoredStudy, claims: list[str]) -> tuple[ClaimOutcome, ...]:
    """Judge claims such as "cnn - mlp >= 0.15" one by one by what a study measured.

    Raises: ClaimError if one cannot be read or names what was not measured; EvidenceError if no seed is
    finished for every contender, or no look is complete.
    """
    parsed = [parse_claim(text) for text in claims]
    seeds, level = judged_seeds(stored)
    measured = measured_values(stored, seeds)
    return tuple(judge_claim(claim, measured, level=level) for claim in parsed)


def judged_seeds(stored: StoredStudy) -> tuple[tuple[int, ...], float]:
    """The seeds that count, and the level at which a question beside the study's own is judged.

    Raises: EvidenceError if no seed is finished for every contender, or no look is complete.
    """
    study = stored.study
    if study.looks is None:
        return common_seeds(stored), study.level
    state, _ = take_looks(stored)
    if not state.seeds:
        raise EvidenceError(
            f"{stored.folder}: the first look, at {study.looks[0]} seeds, is not complete, so nothing can be "
            "judged yet."
        )
    return state.seeds, 1 - (1 - study.level) / len(study.looks)


def measured_values(stored: StoredStudy, seeds: tuple[int, ...]) -> dict[str, dict[str, Values]]:
    """What claims can be about, by contender and metric: exact numbers, arrays over seeds (and images)."""
    measured: dict[str, dict[str, Values]] = {}
    loss = _measure(stored, seeds, "loss")
    for contender in stored.study.contenders:
        label = contender.label
        runs = [stored.finished(label)[seed] for seed in seeds]
        correct = correct_on_test(stored, label)
        measured[label] = {
            "test_acc": np.stack([correct[seed] for seed in seeds]),
            "test_loss": -loss.scores[label],
            "val_acc": _last(runs, "val_acc"),
            "val_loss": _last(runs, "val_loss"),
            "gap": _last(runs, "train_acc") - _last(runs, "val_acc"),
            **_costs(runs),
        }
    return measured


def _costs(runs: list[RunRecord]) -> dict[str, Values]:
    cost = runs[0].cost
    exact: dict[str, Values] = {} if cost is None else {"params": cost.params, "flops": cost.flops}
    timings = [run.timing for run in runs if run.timing]
    return exact | {
        "train_seconds": np.array([timing.train_seconds for timing in timings]),
        "images_per_second": np.array([timing.images_per_second for timing in timings]),
    }


def _last(runs: list[RunRecord], curve: str) -> np.ndarray:
    return np.array([run.history[curve][-1] for run in runs if run.history])  # type: ignore[literal-required]


def _measure(stored: StoredStudy, seeds: tuple[int, ...], quantity: str) -> Quantity:
    classes = stored.header.data.class_names
    known = ("accuracy", "loss", "brier", *classes)
    if quantity not in known:
        raise EvidenceError(f'nothing called "{quantity}" can be compared. {did_you_mean(quantity, known)}')
    scores = {}
    for contender in stored.study.contenders:
        rows = []
        for seed in seeds:
            predicted = stored.predictions(contender.label, seed)
            rows.append(_score(predicted.test_probs, predicted.test_labels, quantity, classes))
        scores[contender.label] = np.stack(rows)
    if quantity == "loss":
        return Quantity(scores=scores, bound=None, unit="nats of loss", scale=1.0)
    if quantity == "brier":
        return Quantity(scores=scores, bound=2.0, unit="of Brier score", scale=1.0)
    images = next(iter(scores.values())).shape[1]
    if images < 2:
        raise EvidenceError(f'the class "{quantity}" has {images} test images; a comparison needs 2.')
    return Quantity(scores=scores, bound=1.0, unit="points", scale=100.0)


def _score(probs: np.ndarray, labels: np.ndarray, quantity: str, classes: tuple[str, ...]) -> np.ndarray:
    """One score for each test image; for a class, of its images only. Minus a loss: more is better."""
    of_truth = probs[np.arange(len(labels)), labels].astype(np.float64)
    if quantity == "loss":
        return np.asarray(np.log(np.maximum(of_truth, TINY)))
    if quantity == "brier":
        return np.asarray(2 * of_truth - 1 - np.square(probs, dtype=np.float64).sum(axis=1))
    correct = (probs.argmax(axis=1) == labels).astype(np.float64)
    return correct if quantity == "accuracy" else correct[labels == classes.index(quantity)]
