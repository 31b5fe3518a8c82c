"""What learning curves show: from which epoch on a model only learns its training images by heart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from tiebreak.errors import EvidenceError
from tiebreak.results.run import History


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """Where validation loss turns up while training loss goes on falling. Means over seeds."""

    epoch: int  # from 1: the last one that helped
    val_loss_best: float  # after that epoch
    val_loss_last: float
    gap_best: float  # generalisation gap, training minus validation accuracy, after that epoch
    gap_last: float


def stacked(runs: Sequence[History], curve: str) -> Float64[np.ndarray, "seeds epochs"]:
    """One curve of several runs, up to the epoch at which the first of them stopped."""
    epochs = min(len(run["val_loss"]) for run in runs)
    return np.array([run[curve][:epochs] for run in runs], dtype=np.float64)  # type: ignore[literal-required]


def find_overfitting(runs: Sequence[History]) -> Overfitting | None:
    """The epoch of the lowest mean validation loss, if it is higher at the end in every seed; else None.

    Training loss must have fallen meanwhile: if both rise, training itself went wrong.

    Raises: EvidenceError without a run.
    """
    if not runs:
        raise EvidenceError("learning curves need at least 1 finished run, got 0.")
    val_loss, train_loss = stacked(runs, "val_loss"), stacked(runs, "train_loss")
    best = int(val_loss.mean(axis=0).argmin())
    rises = bool((val_loss[:, -1] > val_loss[:, best]).all())
    falls = bool(train_loss[:, -1].mean() < train_loss[:, best].mean())
    if not (rises and falls):
        return None
    gap = (stacked(runs, "train_acc") - stacked(runs, "val_acc")).mean(axis=0)
    return Overfitting(
        epoch=best + 1,
        val_loss_best=float(val_loss[:, best].mean()),
        val_loss_last=float(val_loss[:, -1].mean()),
        gap_best=float(gap[best]),
        gap_last=float(gap[-1]),
    )
