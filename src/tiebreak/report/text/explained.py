"""The explanation of a study, if its folder holds one (explain.json), and what the page draws of it."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tiebreak.study.seal import read_sealed

EXPLAIN_FILE = "explain.json"


class Part(BaseModel):
    """What the parts have in common: keys that the page does not know are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Interval(Part):
    """The ends of an interval, as fractions."""

    ci_low: float
    ci_high: float


class Arrangement(Part):
    """The lead on the images as they are, and on permuted pixels; fractions."""

    lead: float
    lead_permuted: float
    lead_interval: Interval | None = None
    lead_permuted_interval: Interval | None = None


class Step(Interval):
    """One step of the ladder; the gain is a fraction."""

    start: str = Field(alias="from")
    to: str
    gain: float


class Accuracy(Part):
    """Test accuracy over seeds; a fraction."""

    mean: float


class DataPoint(Part):
    """Both contenders, trained on so many images."""

    images: int
    a: Accuracy
    b: Accuracy


class DataCurve(Part):
    """How accuracy depends on the amount of data."""

    points: tuple[DataPoint, ...] = ()


class ShiftPoint(Part):
    """Both contenders on test images that were distorted so strongly."""

    distortion: str
    strength: float
    unit: str
    a: Accuracy
    b: Accuracy


class Explanation(Part):
    """The content of explain.json that the page shows."""

    a: str = "a"
    b: str = "b"
    arrangement: Arrangement | None = None
    ladder: tuple[Step, ...] = ()
    data: DataCurve | None = None
    shift: tuple[ShiftPoint, ...] = ()
    sentences: tuple[str, ...] = ()


def read_explanation(folder: Path) -> dict[str, Any] | None:
    """The explanation as plain values, its curves ready to be drawn; None if the study has none.

    Raises: StudyError if the file is damaged.
    """
    explanation = read_sealed(folder, EXPLAIN_FILE, Explanation, "Make it again with tiebreak explain.")
    if explanation is None:
        return None
    shown = explanation.model_dump(
        mode="json", by_alias=True, include={"a", "b", "arrangement", "ladder", "sentences"}
    )
    return shown | {"curves": list(_curves(explanation))}


def _curves(explanation: Explanation) -> Iterator[dict[str, Any]]:
    if explanation.data and explanation.data.points:
        yield {
            "title": "Test accuracy against the number of training images.",
            "axis": "training images",
            "log": True,
            "series": _series(explanation, explanation.data.points, "images"),
        }
    points = sorted(explanation.shift, key=lambda point: point.distortion)
    for distortion, group in groupby(points, key=lambda point: point.distortion):
        of_distortion = sorted(group, key=lambda point: point.strength)
        yield {
            "title": f"Test accuracy on distorted test images: {distortion}.",
            "axis": f"{distortion} ({of_distortion[0].unit})",
            "log": False,
            "series": _series(explanation, of_distortion, "strength"),
        }


def _series(explanation: Explanation, points: Any, x: str) -> list[dict[str, Any]]:
    """One line a contender: {label, x, y}."""
    return [
        {
            "label": label,
            "x": [getattr(point, x) for point in points],
            "y": [getattr(point, side).mean for point in points],
        }
        for side, label in (("a", explanation.a), ("b", explanation.b))
    ]
