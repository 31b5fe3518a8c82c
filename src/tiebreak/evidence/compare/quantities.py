"""The same judgement for other quantities than accuracy, and all that claims can be about.

A study's rule (looks, equivalence margin) is about accuracy. What is asked beside it is judged by an ordinary
interval; where the study may have stopped early, at 1 - alpha / looks, which holds at any look by a union
bound.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tiebreak.errors import EvidenceError, did_you_mean
from tiebreak.evidence.compare.comparison import Comparison
from tiebreak.evidence.compare.designs import compare_by_design, has_own_design
from tiebreak.evidence.compare.judgement import Judgement, judge_study
from tiebreak.evidence.compare.pair import compare_scores
from tiebreak.evidence.compare.sentence import sentence
from tiebreak.evidence.compare.simultaneous import rank
from tiebreak.evidence.compare.until_decided import take_looks
from tiebreak.evidence.compare.verdict import judge
from tiebreak.results.results import Results
from tiebreak.results.run import Run, log_likelihood


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Something measured on each test image of each seed, of which more is better."""

    scores: dict[str, dict[int, Float[np.ndarray, " example"]]]  # by contender and seed
    unit: str
    scale: float  # from a score to its unit
    bound: float | None  # no difference of two scores leaves [-bound, bound]
    pseudo_images: bool = True

    def compare(self, a: str, b: str, level: float) -> Comparison | None:
        """The difference over the seeds that both have; None if there is none."""
        of_a, of_b = self.scores[a], self.scores[b]
        rows = [of_a[seed] - of_b[seed] for seed in sorted(of_a.keys() & of_b.keys())]
        if not rows:
            return None
        return compare_scores(np.stack(rows), bound=self.bound, pseudo_images=self.pseudo_images, level=level)


def compare_quantity(results: Results, quantity: str) -> tuple[Judgement, ...]:
    """Judge every pair by "accuracy", "loss", "brier", or the name of a class (accuracy on its images).

    A positive difference means that a is better; of the loss, a minus b is given with its sign changed.

    Raises: EvidenceError for an unknown quantity, a class without test images, or nothing to compare.
    """
    if quantity == "accuracy":
        return judge_study(results).judgements
    results, level = judged_results(results)
    if not results.comparable:
        raise EvidenceError(f"{results.source}: a comparison needs at least 2 contenders with runs.")
    measured = measure_scores(results, quantity)
    if any(contender.own is not None for contender in results.contenders):
        raise EvidenceError(
            f"{results.source}: {quantity} is compared on the same test images, and these differ."
        )
    images = None
    if quantity in results.examples.class_names:
        images = results.examples.truth == results.examples.class_names.index(quantity)

    def versus(a: str, b: str) -> Comparison | None:
        if not has_own_design(results):
            return measured.compare(a, b, level)
        bound = measured.bound if measured.pseudo_images else None
        return compare_by_design(
            results, a, b, measured.scores[a], measured.scores[b], bound=bound, images=images
        )

    ranking = rank(
        {label: float(np.mean(list(rows.values()))) for label, rows in measured.scores.items()},
        versus,
        baseline=results.rule.baseline,
        level=level,
    )
    judgements = []
    for pair in ranking.pairs:
        verdict = judge(pair.comparison, p_adjusted=pair.p_adjusted, n_comparisons=len(ranking.pairs))
        words = sentence(verdict, pair.a, pair.b, unit=measured.unit, scale=measured.scale)
        judgements.append(Judgement(a=pair.a, b=pair.b, verdict=verdict, sentence=words))
    return tuple(judgements)


def judged_results(results: Results) -> tuple[Results, float]:
    """The runs that count, and the level at which a question beside the study's own is judged.

    Raises: EvidenceError if no look is complete.
    """
    rule = results.rule
    if rule.looks is None:
        return results, rule.level
    state, _ = take_looks(results)
    if not state.looks_done:
        raise EvidenceError(
            f"{results.source}: the first look, at {rule.looks[0]} seeds, is not complete, so nothing can be "
            "judged yet."
        )
    judged = results.up_to(rule.seeds[: rule.looks[state.looks_done - 1]])
    return judged, 1 - (1 - rule.level) / len(rule.looks)


def measure_scores(results: Results, quantity: str) -> Quantity:
    """What each test image of each run scores.

    Raises: EvidenceError for an unknown quantity, unknown probabilities, or a class of under 2 test images.
    """
    names, truth = results.examples.class_names, results.examples.truth
    known = ("accuracy", "loss", "brier", *names)
    if quantity not in known:
        raise EvidenceError(f'nothing called "{quantity}" can be compared. {did_you_mean(quantity, known)}')
    scores = {
        contender.label: {seed: _score(run, truth, quantity, names) for seed, run in contender.runs.items()}
        for contender in results.contenders
    }
    if quantity == "loss":
        return Quantity(scores=scores, bound=None, unit="nats of loss", scale=1.0)
    if quantity == "brier":
        return Quantity(scores=scores, bound=2.0, pseudo_images=False, unit="of Brier score", scale=1.0)
    images = len(truth) if quantity == "accuracy" else int((truth == names.index(quantity)).sum())
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
