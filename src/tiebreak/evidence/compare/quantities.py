"""The same judgement for other quantities than accuracy, and all that claims can be about.

A study's rule (looks, equivalence margin) is about accuracy. What is asked beside it is judged by an ordinary
interval; where the study may have stopped early, at 1 - alpha / looks, which holds at any look by a union
bound.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tiebreak.errors import EvidenceError, did_you_mean
from tiebreak.evidence.compare.comparison import Comparison, compare_scores
from tiebreak.evidence.compare.judgement import Judgement, common_seeds
from tiebreak.evidence.compare.sentence import sentence
from tiebreak.evidence.compare.simultaneous import rank
from tiebreak.evidence.compare.until_decided import take_looks
from tiebreak.evidence.compare.verdict import judge
from tiebreak.study.store import StoredStudy

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
    measured = measure_scores(stored, seeds, quantity)

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


def measure_scores(stored: StoredStudy, seeds: tuple[int, ...], quantity: str) -> Quantity:
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
