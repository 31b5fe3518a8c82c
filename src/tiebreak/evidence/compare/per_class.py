"""Where a difference comes from: accuracy class by class, paired over seeds and test images."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from tiebreak.evidence.compare.comparison import Comparison, compare_scores
from tiebreak.evidence.compare.simultaneous import holm
from tiebreak.evidence.describe.predictions import Predicted, common_seeds


@dataclass(frozen=True, kw_only=True)
class ClassDifference:
    """One class; accuracies are fractions over the common seeds and the class's test images (its recall)."""

    label: int
    images: int  # of this class in the test part
    accuracy_a: float
    accuracy_b: float
    comparison: Comparison | None  # a - b; None with fewer than 2 images. All intervals hold at once
    p_adjusted: float | None  # Holm's, over all classes
    differs: bool  # p_adjusted <= 1 - level


def compare_classes(a: Predicted, b: Predicted, *, level: float = 0.95) -> tuple[ClassDifference, ...]:
    """Compare two contenders within each class that has test images, largest difference a - b first.

    Of two equal contenders with ten classes, a third would show a class with a difference at the level of one
    comparison. So the intervals are for all classes at once (Bonferroni), and the p-values adjusted by Holm.

    Raises: EvidenceError if the two have no seed in common.
    """
    rows_a, rows_b = common_seeds(a, b)
    correct_a, correct_b = a.correct[rows_a], b.correct[rows_b]
    labels, images = np.unique(a.truth, return_counts=True)
    joint = 1 - (1 - level) / max(int((images > 1).sum()), 1)
    by_class = {
        label: (correct_a[:, a.truth == label], correct_b[:, a.truth == label]) for label in labels.tolist()
    }
    compared = {
        label: compare_scores(in_a.astype(np.float64) - in_b, bound=1.0, level=joint)
        for label, (in_a, in_b) in by_class.items()
        if in_a.shape[1] > 1
    }
    adjusted = holm({label: comparison.p_value for label, comparison in compared.items()})
    found = [
        ClassDifference(
            label=label,
            images=in_a.shape[1],
            accuracy_a=float(in_a.mean()),
            accuracy_b=float(in_b.mean()),
            comparison=compared.get(label),
            p_adjusted=adjusted.get(label),
            differs=len(correct_a) > 1 and adjusted.get(label, 1.0) <= 1 - level,
        )
        for label, (in_a, in_b) in by_class.items()
    ]
    return tuple(sorted(found, key=lambda entry: entry.accuracy_b - entry.accuracy_a))


def confusion(predicted: Predicted) -> Int64[np.ndarray, "K K"]:
    """How often each class (row) was taken for each class (column), summed over the seeds."""
    k = predicted.num_classes
    truth = np.broadcast_to(predicted.truth, predicted.classes.shape)
    return np.bincount((truth * k + predicted.classes).ravel(), minlength=k * k).reshape(k, k)
