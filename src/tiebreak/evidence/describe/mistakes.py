"""Which test images tell two contenders apart, which defeat both, and on which the seeds disagree.

Shape letters: M test images.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from tiebreak.evidence.describe.predictions import Predicted, common_seeds


@dataclass(frozen=True, kw_only=True, eq=False)
class Mistakes:
    """Test images by number, the clearest case first, and what share of all test images each kind is."""

    only_a: Int64[np.ndarray, " n_a"]  # right for a in most seeds, wrong for b in most
    only_b: Int64[np.ndarray, " n_b"]
    both_wrong: Int64[np.ndarray, " n_w"]  # wrong in every seed of both, the most confident first
    share_both_right: float  # shares are means over the common seeds, and sum to 1
    share_only_a: float
    share_only_b: float
    share_both_wrong: float


def find_mistakes(a: Predicted, b: Predicted) -> Mistakes:
    """Sort the test images by who gets them right, over the seeds that both have.

    Raises: EvidenceError if the two have no seed in common.
    """
    rows_a, rows_b = common_seeds(a, b)
    right_a, right_b = a.correct[rows_a], b.correct[rows_b]
    often_a, often_b = right_a.mean(axis=0), right_b.mean(axis=0)
    lead = _of_truth(a, rows_a) - _of_truth(b, rows_b)
    confidence = _of_mistake(a, rows_a) + _of_mistake(b, rows_b)
    # How many seeds agree comes first, the probabilities only break ties: they lie within -1..1.
    clear = (often_a - often_b) * 2 * len(rows_a) + lead
    return Mistakes(
        only_a=_ordered((often_a > 0.5) & (often_b < 0.5), clear),
        only_b=_ordered((often_b > 0.5) & (often_a < 0.5), -clear),
        both_wrong=_ordered((often_a == 0) & (often_b == 0), confidence),
        share_both_right=float((right_a & right_b).mean()),
        share_only_a=float((right_a & ~right_b).mean()),
        share_only_b=float((right_b & ~right_a).mean()),
        share_both_wrong=float((~right_a & ~right_b).mean()),
    )


def seed_disagreement(predicted: Predicted) -> Float64[np.ndarray, " M"]:
    """For each test image the share of pairs of seeds that name different classes; 0 with one seed."""
    seeds = len(predicted.seeds)
    if seeds < 2:
        return np.zeros(len(predicted.truth))
    classes = predicted.classes
    votes = np.stack([(classes == label).sum(axis=0) for label in range(predicted.num_classes)])
    agreeing = (votes * (votes - 1)).sum(axis=0)
    return 1 - agreeing / (seeds * (seeds - 1))


def most_disputed(*contenders: Predicted) -> Int64[np.ndarray, " n"]:
    """The test images on which the seeds of the contenders disagree at all, the most disputed first."""
    disputed = sum(seed_disagreement(predicted) for predicted in contenders)
    return _ordered(np.asarray(disputed) > 0, np.asarray(disputed, dtype=np.float64))


def _of_truth(predicted: Predicted, rows: list[int]) -> Float64[np.ndarray, " M"]:
    """The mean probability of the true class."""
    everywhere = np.arange(len(predicted.truth))
    return predicted.probs[rows][:, everywhere, predicted.truth].mean(axis=0, dtype=np.float64)


def _of_mistake(predicted: Predicted, rows: list[int]) -> Float64[np.ndarray, " M"]:
    """The mean probability of the predicted class."""
    return predicted.probs[rows].max(axis=2).mean(axis=0, dtype=np.float64)


def _ordered(chosen: Bool[np.ndarray, " M"], score: Float64[np.ndarray, " M"]) -> Int64[np.ndarray, " n"]:
    """The numbers of the chosen images, the highest score first, ties by number."""
    return np.flatnonzero(chosen)[np.argsort(-score[chosen], kind="stable")]
