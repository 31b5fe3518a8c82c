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
from tiebreak.results.results import Results
from tiebreak.results.run import Run, log_likelihood


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Something measured on each test image of each seed, of which more is better."""

    scores: dict[str, Float[np.ndarray, "seed example"]]  # by contender
    bound: float | None  # no difference of two scores leaves [-bound, bound]
    unit: str
    scale: float  # from a score to its unit


def compare_quantity(results: Results, quantity: str) -> tuple[Judgement, ...]:
    """Judge every pair by "accuracy", "loss", "brier", or the name of a class (accuracy on its images).

    A positive difference means that a is better; of the loss, a minus b is given with its sign changed.

    Raises: EvidenceError for an unknown quantity, a class without test images, or nothing to compare.
    """
    if len(results.labels) < 2:
        raise EvidenceError("a comparison needs at least 2 contenders, got 1.")
    seeds, level = judged_seeds(results)
    measured = measure_scores(results, seeds, quantity)

    def versus(a: str, b: str) -> Comparison:
        difference = measured.scores[a] - measured.scores[b]
        return compare_scores(difference, bound=measured.bound, level=level)

    means = {label: float(scores.mean()) for label, scores in measured.scores.items()}
    ranking = rank(means, versus, baseline=results.rule.baseline, level=level)
    judgements = []
    for pair in ranking.pairs:
        verdict = judge(pair.comparison, p_adjusted=pair.p_adjusted, n_comparisons=len(ranking.pairs))
        words = sentence(verdict, pair.a, pair.b, unit=measured.unit, scale=measured.scale)
        judgements.append(Judgement(a=pair.a, b=pair.b, verdict=verdict, sentence=words))
    return tuple(judgements)


def judged_seeds(results: Results) -> tuple[tuple[int, ...], float]:
    """The seeds that count, and the level at which a question beside the study's own is judged.

    Raises: EvidenceError if no seed is finished for every contender, or no look is complete.
    """
    rule = results.rule
    if rule.looks is None:
        return common_seeds(results), rule.level
    state, _ = take_looks(results)
    if not state.seeds:
        raise EvidenceError(
            f"{results.source}: the first look, at {rule.looks[0]} seeds, is not complete, so nothing can be "
            "judged yet."
        )
    return state.seeds, 1 - (1 - rule.level) / len(rule.looks)


def measure_scores(results: Results, seeds: tuple[int, ...], quantity: str) -> Quantity:
    classes = results.examples.class_names
    known = ("accuracy", "loss", "brier", *classes)
    if quantity not in known:
        raise EvidenceError(f'nothing called "{quantity}" can be compared. {did_you_mean(quantity, known)}')
    scores = {}
    for contender in results.contenders:
        rows = [_score(contender.runs[seed], results.examples.truth, quantity, classes) for seed in seeds]
        scores[contender.label] = np.stack(rows)
    if quantity == "loss":
        return Quantity(scores=scores, bound=None, unit="nats of loss", scale=1.0)
    if quantity == "brier":
        return Quantity(scores=scores, bound=2.0, unit="of Brier score", scale=1.0)
    images = next(iter(scores.values())).shape[1]
    if images < 2:
        raise EvidenceError(f'the class "{quantity}" has {images} test images; a comparison needs 2.')
    return Quantity(scores=scores, bound=1.0, unit="points", scale=100.0)


def _score(run: Run, truth: np.ndarray, quantity: str, classes: tuple[str, ...]) -> np.ndarray:
    """One score for each test image; for a class, of its images only. Minus a loss: more is better."""
    if quantity in ("loss", "brier"):
        if run.probs is None:
            raise EvidenceError(f'"{quantity}" needs probabilities, and only classes are known.')
        if quantity == "loss":
            return log_likelihood(run.probs, truth)
        of_truth = run.probs[np.arange(len(truth)), truth].astype(np.float64)
        return np.asarray(2 * of_truth - 1 - np.square(run.probs, dtype=np.float64).sum(axis=1))
    correct = run.correct(truth).astype(np.float64)
    return correct if quantity == "accuracy" else correct[truth == classes.index(quantity)]
