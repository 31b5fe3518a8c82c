"""Where a difference comes from: accuracy class by class, paired over seeds and test images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from tiebreak.evidence.compare.comparison import Comparison, Method, at_level
from tiebreak.evidence.compare.designs import compare_by_design
from tiebreak.evidence.compare.pair import compare_scores
from tiebreak.evidence.compare.simultaneous import holm
from tiebreak.evidence.describe.predictions import Predicted, common_seeds
from tiebreak.results.results import Pairing, Results


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
    by_class = {
        label: (correct_a[:, a.truth == label], correct_b[:, a.truth == label])
        for label in np.unique(a.truth).tolist()
    }
    compared = {
        label: compare_scores(in_a.astype(np.float64) - in_b, bound=1.0, level=level)
        for label, (in_a, in_b) in by_class.items()
        if in_a.shape[1] > 1
    }
    return _all_at_once(by_class, compared, level)


def classes_by_design(results: Results, a: str, b: str) -> tuple[ClassDifference, ...]:
    """The same of results that were made elsewhere, as their seeds and images allow.

    Empty where the two were not asked about the same images, or by folds of a cross-validation.
    """
    if any(results.of(label).own for label in (a, b)) or results.rule.pairing is Pairing.FOLDS:
        return ()
    truth, groups = results.examples.truth, results.examples.groups
    sides, by_class, compared = (results.values(a), results.values(b)), {}, {}
    for label in np.unique(truth).tolist():
        here = truth == label
        rows_a, rows_b = ({seed: row[here] for seed, row in rows.items()} for rows in sides)
        by_class[label] = (np.stack(list(rows_a.values())), np.stack(list(rows_b.values())))
        if (here.sum() if groups is None else len(np.unique(groups[here]))) > 1:
            compared[label] = compare_by_design(results, a, b, rows_a, rows_b, images=here)
    return _all_at_once(by_class, compared, results.rule.level)


def _all_at_once(
    by_class: Mapping[int, tuple[np.ndarray, np.ndarray]], compared: Mapping[int, Comparison], level: float
) -> tuple[ClassDifference, ...]:
    """Widen the intervals for all classes at once, adjust the p-values; the largest difference first."""
    joint = 1 - (1 - level) / max(len(compared), 1)
    adjusted = holm({label: comparison.p_value for label, comparison in compared.items()})
    found = [
        ClassDifference(
            label=label,
            images=in_a.shape[1],
            accuracy_a=float(in_a.mean()),
            accuracy_b=float(in_b.mean()),
            comparison=at_level(compared[label], joint) if label in compared else None,
            p_adjusted=adjusted.get(label),
            differs=label in compared
            and compared[label].method is not Method.ONE_SEED
            and adjusted[label] <= 1 - level,
        )
        for label, (in_a, in_b) in by_class.items()
    ]
    return tuple(sorted(found, key=lambda entry: entry.accuracy_b - entry.accuracy_a))


def confusion_of(results: Results, label: str) -> Int64[np.ndarray, "K K"]:
    """How often a contender took each class (row) for each class (column), summed over its seeds."""
    examples = results.examples_of(label)
    k = len(examples.class_names)
    answers = np.stack([run.answers for run in results.of(label).runs.values()])
    return _count(np.broadcast_to(examples.truth, answers.shape), answers, k)


def confusion(predicted: Predicted) -> Int64[np.ndarray, "K K"]:
    """How often each class (row) was taken for each class (column), summed over the seeds."""
    k = predicted.num_classes
    truth = np.broadcast_to(predicted.truth, predicted.classes.shape)
    return _count(truth, predicted.classes, k)


def _count(truth: np.ndarray, answers: np.ndarray, k: int) -> np.ndarray:
    return np.bincount((truth * k + answers).ravel(), minlength=k * k).reshape(k, k)
