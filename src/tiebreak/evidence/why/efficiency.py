"""How accuracy depends on the number of training images, and how many A needs to reach what B reaches."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tiebreak.evidence.compare.comparison import Comparison
from tiebreak.evidence.compare.pair import compare_scores
from tiebreak.evidence.describe.quality import Spread
from tiebreak.evidence.why.spatial import Scores, accuracy_of, load_correct
from tiebreak.results.results import Results


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
    level: float = 0.95  # of the interval
    fewer: bool = False  # with the fewest images measured, A is surely above it already
    more: bool = False  # with the most, A is surely below it still


@dataclass(frozen=True, kw_only=True)
class DataCurve:
    """Points by number of images, and what A would need."""

    a: str
    b: str
    points: tuple[DataPoint, ...]
    equivalents: tuple[Equivalent, ...]


@dataclass(frozen=True, kw_only=True)
class DataRung:
    """A and B trained on so many images: the labels of both."""

    images: int
    epochs: int
    a: str
    b: str


def answer_data(results: Results, rungs: Sequence[DataRung]) -> DataCurve:
    """Accuracy at rising numbers of training images; the last rung has all of them.

    Raises: EvidenceError, as `load_correct`.
    """
    correct = load_correct(results, [label for rung in rungs for label in (rung.a, rung.b)])
    level, images = results.rule.level, [rung.images for rung in rungs]
    points = tuple(
        DataPoint(
            images=rung.images,
            epochs=rung.epochs,
            accuracy_a=accuracy_of(correct[rung.a]),
            accuracy_b=accuracy_of(correct[rung.b]),
            lead=compare_scores(correct[rung.b] - correct[rung.a], bound=1.0, level=level),
        )
        for rung in rungs
    )
    of_a = [correct[rung.a] for rung in rungs]
    equivalents = tuple(
        equivalent_images(rung.images, correct[rung.b], images, of_a, level) for rung in rungs
    )
    return DataCurve(a=rungs[-1].a, b=rungs[-1].b, points=points, equivalents=equivalents)


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
        level=level,
        fewer=differences[0].ci_low > 0,
        more=differences[-1].ci_high < 0,
    )


def first_crossing(images: Sequence[int], values: Sequence[float]) -> float | None:
    """The number of images at which a curve first rises to 0; None if it starts above 0 or stays below."""
    for (left, low), (right, high) in zip(
        zip(images, values, strict=True), zip(images[1:], values[1:], strict=True), strict=False
    ):
        if low <= 0 <= high and low < high:
            return math.exp(float(np.interp(0, [low, high], [math.log(left), math.log(right)])))
    return None
