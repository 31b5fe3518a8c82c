"""Where a difference comes from: accuracy class by class, paired over seeds and test images."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from tiebreak.evidence.compare.comparison import Comparison, compare_scores
from tiebreak.evidence.describe.predictions import Predicted, common_seeds


@dataclass(frozen=True, kw_only=True)
class ClassDifference:
    """One class; accuracies are fractions over the common seeds and the class's test images (its recall)."""

    label: int
    images: int  # of this class in the test part
    accuracy_a: float
    accuracy_b: float
    comparison: Comparison | None  # a - b, for this class alone; None with fewer than 2 images


def compare_classes(a: Predicted, b: Predicted, *, level: float = 0.95) -> tuple[ClassDifference, ...]:
    """Compare two contenders within each class that has test images, largest difference a - b first.

    Each interval is for its own class; none is adjusted for looking at several.

    Raises: EvidenceError if the two have no seed in common.
    """
    rows_a, rows_b = common_seeds(a, b)
    correct_a, correct_b = a.correct[rows_a], b.correct[rows_b]
    found = []
    for label in np.unique(a.truth).tolist():
        here = a.truth == label
        in_a, in_b = correct_a[:, here], correct_b[:, here]
        scores = in_a.astype(np.float64) - in_b
        found.append(
            ClassDifference(
                label=label,
                images=int(here.sum()),
                accuracy_a=float(in_a.mean()),
                accuracy_b=float(in_b.mean()),
                comparison=compare_scores(scores, bound=1.0, level=level) if here.sum() > 1 else None,
            )
        )
    return tuple(sorted(found, key=lambda entry: entry.accuracy_b - entry.accuracy_a))


def confusion(predicted: Predicted) -> Int64[np.ndarray, "K K"]:
    """How often each class (row) was taken for each class (column), summed over the seeds."""
    k = predicted.num_classes
    truth = np.broadcast_to(predicted.truth, predicted.classes.shape)
    return np.bincount((truth * k + predicted.classes).ravel(), minlength=k * k).reshape(k, k)
