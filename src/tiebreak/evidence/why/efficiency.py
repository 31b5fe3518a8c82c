"""How accuracy depends on the number of training images, and how many A needs to reach what B reaches."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tiebreak.evidence.compare.comparison import Comparison, compare_scores
from tiebreak.evidence.describe.quality import Spread
from tiebreak.evidence.why.questions import FRACTIONS, at_fraction
from tiebreak.evidence.why.spatial import Scores, accuracy_of, load_correct
from tiebreak.study.plan import Contender
from tiebreak.study.store import StoredStudy


@dataclass(frozen=True, kw_only=True)
class DataPoint:
    """Both contenders, trained on the same number of images for the same number of steps."""

    images: int
    epochs: int
    accuracy_a: Spread
    accuracy_b: Spread
    lead: Comparison  # B - A


@dataclass(frozen=True, kw_only=True)
class Equivalent:
    """How many images bring A to where B is with `images_b`; None where that lies outside the curve."""

    images_b: int
    images_a: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True, kw_only=True)
class DataCurve:
    """Points by number of images, and what A would need."""

    a: str
    b: str
    points: tuple[DataPoint, ...]
    equivalents: tuple[Equivalent, ...]


def answer_data(stored: StoredStudy, a: Contender, b: Contender) -> DataCurve:
    """Accuracy at 1/32 ... 1/1 of the training split. Raises: EvidenceError, as `load_correct`."""
    data, level = stored.header.data, stored.study.level
    pairs = [(at_fraction(a, fraction), at_fraction(b, fraction)) for fraction in FRACTIONS]
    correct = load_correct(stored, [contender.label for pair in pairs for contender in pair])
    images = [round(fraction * (data.train_images - data.val_images)) for fraction in FRACTIONS]
    points = tuple(
        DataPoint(
            images=count,
            epochs=here_a.recipe.epochs,
            accuracy_a=accuracy_of(correct[here_a.label]),
            accuracy_b=accuracy_of(correct[here_b.label]),
            lead=compare_scores(correct[here_b.label] - correct[here_a.label], bound=1.0, level=level),
        )
        for count, (here_a, here_b) in zip(images, pairs, strict=True)
    )
    of_a = [correct[here_a.label] for here_a, _ in pairs]
    equivalents = tuple(
        equivalent_images(count, correct[here_b.label], images, of_a, level)
        for count, (_, here_b) in zip(images, pairs, strict=True)
    )
    return DataCurve(a=a.label, b=b.label, points=points, equivalents=equivalents)


def equivalent_images(
    images_b: int, of_b: Scores, images: Sequence[int], of_a: Sequence[Scores], level: float
) -> Equivalent:
    """Where A's curve, linear in log(images) between its points, meets B's accuracy with `images_b`.

    The interval holds the numbers of images at which the difference A - B may be 0.
    """
    differences = [compare_scores(scores - of_b, bound=1.0, level=level) for scores in of_a]

    def meets(value: Callable[[Comparison], float]) -> float | None:
        return first_crossing(images, [value(difference) for difference in differences])

    return Equivalent(
        images_b=images_b,
        images_a=meets(lambda difference: difference.difference),
        ci_low=meets(lambda difference: difference.ci_high),
        ci_high=meets(lambda difference: difference.ci_low),
    )


def first_crossing(images: Sequence[int], values: Sequence[float]) -> float | None:
    """The number of images at which a curve first rises to 0; None if it starts above 0 or stays below."""
    for (left, low), (right, high) in zip(
        zip(images, values, strict=True), zip(images[1:], values[1:], strict=True), strict=False
    ):
        if low <= 0 <= high and low < high:
            return math.exp(float(np.interp(0, [low, high], [math.log(left), math.log(right)])))
    return None
