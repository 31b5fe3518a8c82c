"""Whether a model is right as often as it says, and what one temperature would mend.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (https://arxiv.org/abs/1706.04599).
Shape letters: N images, K classes, S seeds.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from tiebreak.evidence.describe.predictions import Predicted
from tiebreak.evidence.describe.quality import Spread, spread

BINS = 15  # of equal width in confidence, as in the paper
REDRAWN = 200  # times the labels are drawn anew to see what ECE is by chance
LARGEST = 20.0  # temperatures are sought between 1/20 and 20
TINY = float(np.finfo(np.float32).tiny)  # a probability that was stored as 0


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The predictions whose confidence lies in (low, high]."""

    low: float
    high: float
    share: float  # of all predictions
    confidence: float  # mean
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """One contender's calibration on the test images, as it is and after temperature scaling."""

    label: str
    ece: Spread  # expected calibration error over seeds, a fraction
    ece_by_chance: Spread  # that of a model which is right exactly as often as it says
    ece_scaled: Spread
    loss: Spread  # mean cross entropy in nats
    loss_scaled: Spread
    temperature: Spread  # fitted on each seed's own validation images; above 1: the model is too sure
    bins: tuple[ReliabilityBin, ...]  # all seeds pooled; empty bins are left out
    bins_scaled: tuple[ReliabilityBin, ...]


def calibrate(predicted: Predicted) -> Calibration:
    """Measure a contender's calibration, and fit a temperature a seed on validation images."""
    temperatures = [
        fit_temperature(probs, truth)
        for probs, truth in zip(predicted.val_probs, predicted.val_truth, strict=True)
    ]
    plain = list(predicted.probs)
    scaled = [scale(probs, temperature) for probs, temperature in zip(plain, temperatures, strict=True)]
    truth = predicted.truth
    pooled = np.tile(truth, len(plain))
    return Calibration(
        label=predicted.label,
        ece=spread([expected_error(reliability(probs, truth)) for probs in plain]),
        ece_by_chance=spread([error_by_chance(probs) for probs in plain]),
        ece_scaled=spread([expected_error(reliability(probs, truth)) for probs in scaled]),
        loss=spread([mean_loss(probs, truth) for probs in plain]),
        loss_scaled=spread([mean_loss(probs, truth) for probs in scaled]),
        temperature=spread(temperatures),
        bins=reliability(np.concatenate(plain), pooled),
        bins_scaled=reliability(np.concatenate(scaled), pooled),
    )


def reliability(
    probs: Float[np.ndarray, "N K"], truth: Int64[np.ndarray, " N"], bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """Accuracy against confidence (the largest probability) in bins of equal width; empty ones left out."""
    confidence = probs.max(axis=1).astype(np.float64)
    correct = probs.argmax(axis=1) == truth
    which = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(which, minlength=bins)
    confidences = np.bincount(which, weights=confidence, minlength=bins)
    right = np.bincount(which, weights=correct, minlength=bins)
    return tuple(
        ReliabilityBin(
            low=index / bins,
            high=(index + 1) / bins,
            share=float(counts[index] / len(truth)),
            confidence=float(confidences[index] / counts[index]),
            accuracy=float(right[index] / counts[index]),
        )
        for index in np.flatnonzero(counts).tolist()
    )


def expected_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """Expected calibration error (ECE): |accuracy - confidence|, weighted by each bin's share."""
    return sum(entry.share * abs(entry.accuracy - entry.confidence) for entry in bins)


def error_by_chance(probs: Float[np.ndarray, "N K"], bins: int = BINS) -> float:
    """The mean ECE if the labels came from the probabilities: what so few images show of a perfect model.

    ECE is a mean of distances, which chance can only add to. The draws are the same for the same input.
    """
    confidence = probs.max(axis=1).astype(np.float64)
    which = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    draws = np.random.default_rng(0)
    total = 0.0
    for _ in range(REDRAWN):
        surplus = (draws.random(len(confidence)) < confidence) - confidence
        total += np.abs(np.bincount(which, weights=surplus, minlength=bins)).sum() / len(confidence)
    return float(total / REDRAWN)


def fit_temperature(probs: Float32[np.ndarray, "N K"], truth: Int64[np.ndarray, " N"]) -> float:
    """The temperature that makes the cross entropy smallest.

    Probabilities serve as well as logits: the logarithm differs from them by a constant an image.
    """
    logs = np.log(np.maximum(probs, TINY)).astype(np.float64)
    of_truth = logs[np.arange(len(truth)), truth]

    def loss(log_temperature: float) -> float:
        inverse = np.exp(-log_temperature)
        # Log-probabilities are at most 0, and one of them is near it: the sum cannot overflow or vanish.
        return float((np.log(np.exp(logs * inverse).sum(axis=1)) - of_truth * inverse).mean())

    bound = float(np.log(LARGEST))
    from scipy.optimize import minimize_scalar  # late: a sixth of a second

    found = minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def scale(probs: Float32[np.ndarray, "N K"], temperature: float) -> Float64[np.ndarray, "N K"]:
    """softmax(logits / temperature), from the probabilities alone."""
    scaled = np.exp(np.log(np.maximum(probs, TINY)).astype(np.float64) / temperature)
    return scaled / scaled.sum(axis=1, keepdims=True)


def mean_loss(probs: Float[np.ndarray, "N K"], truth: Int64[np.ndarray, " N"]) -> float:
    """Mean cross entropy in nats."""
    of_truth = probs[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.maximum(of_truth, TINY)).mean())
