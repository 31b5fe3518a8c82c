"""The stored predictions of one contender on the test images, all finished seeds at once.

Shape letters: S seeds, M test images, V validation images, K classes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Int64

from tiebreak.errors import EvidenceError
from tiebreak.results.results import Results


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """What a contender's finished runs said. The validation images are others for each seed."""

    label: str
    seeds: tuple[int, ...]
    truth: Int64[np.ndarray, " M"]
    probs: Float32[np.ndarray, "S M K"]
    val_truth: Int64[np.ndarray, "S V"]
    val_probs: Float32[np.ndarray, "S V K"]

    @cached_property
    def classes(self) -> Int64[np.ndarray, "S M"]:
        """The predicted class of each test image."""
        return self.probs.argmax(axis=2)

    @cached_property
    def correct(self) -> Bool[np.ndarray, "S M"]:
        return self.classes == self.truth

    @property
    def mean_probs(self) -> Float32[np.ndarray, "M K"]:
        """The mean over seeds."""
        return self.probs.mean(axis=0)

    @property
    def num_classes(self) -> int:
        return self.probs.shape[2]


def predicted_by(results: Results, label: str) -> Predicted:
    """All of a contender's finished runs.

    Raises: EvidenceError if one has no probabilities, or no run has finished.
    """
    runs = list(results.of(label).runs.values())
    probs, val_probs, val_truth = (
        [part for run in runs if (part := getattr(run, name)) is not None]
        for name in ("probs", "val_probs", "val_truth")
    )
    if min(len(probs), len(val_probs), len(val_truth)) < len(runs):
        raise EvidenceError(f"{results.source}: the probabilities of {label} are not known.")
    return Predicted(
        label=label,
        seeds=tuple(run.seed for run in runs),
        truth=results.examples.truth,
        probs=np.stack(probs),
        val_truth=np.stack(val_truth),
        val_probs=np.stack(val_probs),
    )


def common_seeds(a: Predicted, b: Predicted) -> tuple[list[int], list[int]]:
    """The rows of a and of b that belong to the same seeds, in a's order.

    Raises: EvidenceError if they have no seed in common.
    """
    common = [seed for seed in a.seeds if seed in b.seeds]
    if not common:
        raise EvidenceError(
            f"{a.label} and {b.label} have no finished seed in common; train both with the same seeds."
        )
    return [a.seeds.index(seed) for seed in common], [b.seeds.index(seed) for seed in common]
