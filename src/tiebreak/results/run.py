"""What one run leaves to be judged: its predictions, its learning curves and what it cost.

Shape letters: M test images, V validation images, K classes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

TINY = float(np.finfo(np.float32).tiny)  # a probability of 0 that float32 could not hold


class History(TypedDict):
    """One number an epoch: mean loss over samples, and the fraction correct."""

    train_loss: list[float]
    train_acc: list[float]
    val_loss: list[float]
    val_acc: list[float]


def best_epoch(history: History) -> int:
    """The epoch, from 1, of the highest validation accuracy: of equal ones that of the lowest loss, or the
    first.
    """
    scores = list(zip(history["val_acc"], (-loss for loss in history["val_loss"]), strict=True))
    return 1 + scores.index(max(scores))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One point of a search."""

    values: dict[str, float]  # of the settings that were searched
    val_acc: float | None  # after its last or kept epoch; None: it failed
    val_loss: float | None
    test_acc: float | None  # of a trial that was trained to the end
    epochs: int  # that it was trained
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """How the recipe of a run was found."""

    values: dict[str, float]  # of the settings that were searched
    trial: int  # which of the trials was the best on the validation images, from 1
    seed: int  # of the search
    trials: tuple[Trial, ...]  # of the search; none where another seed's run tells them


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Parameters and the arithmetic of one forward pass."""

    params: int
    flops: int  # floating-point operations of one image's forward pass; a multiply-add counts as two
    bytes: int  # of the parameters and buffers in memory


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds by the wall clock."""

    train_seconds: float  # of all training steps; evaluation, checkpoints and readers of events left out
    evaluate_seconds: float  # of the evaluations on val, and the predictions at the end
    images_per_second: float  # while training


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Class probabilities and true labels. Test images come in the data set's order."""

    val_probs: Float32[np.ndarray, "V K"]
    val_labels: Int64[np.ndarray, " V"]
    test_probs: Float32[np.ndarray, "M K"]
    test_labels: Int64[np.ndarray, " M"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One contender trained with one seed. What is not known of a run made elsewhere is None."""

    seed: int
    answers: Int64[np.ndarray, " M"]  # the predicted class of each test image
    probs: Float32[np.ndarray, "M K"] | None = None
    val_probs: Float32[np.ndarray, "V K"] | None = None
    val_truth: Int64[np.ndarray, " V"] | None = None  # other images for each seed
    history: History | None = None
    kept_epoch: int | None = None  # whose weights were kept and tested, from 1; None: the last one's
    cost: Cost | None = None
    timing: Timing | None = None
    scores: Float64[np.ndarray, " M"] | None = None  # more is better; then there are no answers but zeros
    tuned: Tuned | None = None  # how its recipe was found; None: it was given
    folds: Int64[np.ndarray, " M"] | None = None  # which fold of a cross-validation tested each image

    def correct(self, truth: Int64[np.ndarray, " M"]) -> Bool[np.ndarray, " M"]:
        """Which test images were classified correctly."""
        return self.answers == truth

    def curve_at_end(self, curve: str) -> float | None:
        """A curve's value after the epoch that was kept; None without curves."""
        if self.history is None:
            return None
        return self.history[curve][(self.kept_epoch or 0) - 1]  # type: ignore[literal-required]

    def values(self, truth: Int64[np.ndarray, " M"]) -> Float64[np.ndarray, " M"]:
        """What was reached on each test image: the score, or 1 where it was classified correctly, else 0."""
        return self.correct(truth).astype(np.float64) if self.scores is None else self.scores


def log_likelihood(
    probs: Float32[np.ndarray, "M K"], truth: Int64[np.ndarray, " M"]
) -> Float64[np.ndarray, " M"]:
    """The log of the probability that was given to each true class; minus the cross-entropy loss."""
    of_truth = probs[np.arange(len(truth)), truth].astype(np.float64)
    return np.asarray(np.log(np.maximum(of_truth, TINY)))


def accuracy(probs: Float32[np.ndarray, "M K"], labels: Int64[np.ndarray, " M"]) -> float:
    """The fraction of images whose likeliest class is the true one."""
    return float((probs.argmax(axis=1) == labels).mean())


def mean_loss(probs: Float32[np.ndarray, "M K"], labels: Int64[np.ndarray, " M"]) -> float:
    """The mean negative logarithm of the true class's probability."""
    of_truth = probs[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(of_truth, np.finfo(np.float32).tiny)).mean(dtype=np.float64))
