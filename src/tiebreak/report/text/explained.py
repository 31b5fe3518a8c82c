"""An explanation as plain values: what `explain --json` prints, explain.json holds, and the page draws.

Accuracies, gains and differences are fractions. The models read what they wrote, and the evidence itself:
each field says where it stands there.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, AliasPath, BaseModel, BeforeValidator, ConfigDict, Field

from tiebreak.evidence.why.answers import Explanation
from tiebreak.sealed import read_sealed

EXPLAIN_FILE = "explain.json"


def _at(path: str, written: str, **more: Any) -> Any:
    """A field that is `path` in the evidence, and `written` in the file."""
    found = AliasChoices(AliasPath(*path.split(".")), written)
    return Field(validation_alias=found, serialization_alias=written, **more)


class Part(BaseModel):
    """What all have in common: keys that nobody knows are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)


class Interval(Part):
    """A difference, and an interval at its level."""

    difference: float
    ci_low: float
    ci_high: float
    level: float


class Spread(Part):
    """A quantity over seeds."""

    mean: float
    sd: float | None
    values: tuple[float, ...]


def _told_by_first_version(result: object) -> object:
    """Which only told whether the change may be nothing."""
    return {True: "open", False: "failed"}[result] if isinstance(result, bool) else result


class SelfCheck(Part):
    """A model that cannot see the order of the pixels, with and without the permutation."""

    model: str = _at("label", "model")
    result: Annotated[str, BeforeValidator(_told_by_first_version)] = Field(
        validation_alias=AliasChoices("result", "passed")
    )
    difference: float = _at("change.difference", "difference")
    ci_low: float = _at("change.ci_low", "ci_low")
    ci_high: float = _at("change.ci_high", "ci_high")
    level: float = _at("change.level", "level")


class Arrangement(Part):
    """The lead on the images as they are and on permuted pixels; the difference, also as a share."""

    lead: float = _at("lead.difference", "lead")
    lead_permuted: float = _at("lead_permuted.difference", "lead_permuted")
    difference: float = _at("difference.difference", "difference")
    ci_low: float = _at("difference.ci_low", "ci_low")
    ci_high: float = _at("difference.ci_high", "ci_high")
    level: float = _at("difference.level", "level")
    share: float | None = _at("share.value", "share")
    share_ci_low: float | None = _at("share.ci_low", "share_ci_low", default=None)
    share_ci_high: float | None = _at("share.ci_high", "share_ci_high", default=None)
    lead_interval: Interval = Field(validation_alias=AliasChoices("lead_interval", "lead"))
    lead_permuted_interval: Interval = Field(
        validation_alias=AliasChoices("lead_permuted_interval", "lead_permuted")
    )
    accuracy: dict[str, Spread]
    self_check: SelfCheck


class Step(Part):
    """One step of a ladder and what it gains."""

    start: str = _at("start", "from")
    end: str = _at("end", "to")
    ingredient: str
    gain: float = _at("gain.difference", "gain")
    ci_low: float = _at("gain.ci_low", "ci_low")
    ci_high: float = _at("gain.ci_high", "ci_high")
    level: float = _at("gain.level", "level")


class SizeMatch(Part):
    """An MLP with the parameters or the arithmetic of B."""

    label: str
    by: str
    params: int = _at("cost.params", "params")
    flops: int = _at("cost.flops", "flops")
    accuracy: Spread
    lead: Interval


class Size(Part):
    """B's lead over A, and over MLPs of its own size."""

    lead: Interval
    matches: tuple[SizeMatch, ...]


class DataPoint(Part):
    """Both contenders, trained on so many images."""

    images: int
    epochs: int
    a: Spread = _at("accuracy_a", "a")
    b: Spread = _at("accuracy_b", "b")
    lead: Interval


class Equivalent(Part):
    """How many images A needs to reach what B reaches with fewer."""

    images_b: int
    images_a: float | None
    ci_low: float | None
    ci_high: float | None


class DataCurve(Part):
    """How accuracy depends on the amount of data."""

    same: Literal["steps"] = "steps"
    points: tuple[DataPoint, ...]
    equivalents: tuple[Equivalent, ...]


class ShiftPoint(Part):
    """Both contenders on test images that were distorted so strongly."""

    distortion: str
    strength: float
    unit: str
    a: Spread = _at("accuracy_a", "a")
    b: Spread = _at("accuracy_b", "b")
    lead: Interval
    extra_loss: Interval | None


class DataSet(Part):
    """What was asked about."""

    name: str
    fingerprint: str | None
    verified: bool | None
    notes: tuple[str, ...] = ()


class Explained(Part):
    """All of it; a question that was not asked is None, and left out of the file."""

    arrangement: Arrangement | None = None
    ladder: tuple[Step, ...] | None = _at("ladder.steps", "ladder", default=None)
    control: tuple[Step, ...] | None = _at("control.steps", "control", default=None)
    size: Size | None = None
    data: DataCurve | None = None
    shift: tuple[ShiftPoint, ...] | None = _at("shift.points", "shift", default=None)
    a: str
    b: str
    study: str = _at("results.source", "study")
    dataset: DataSet = _at("results.examples", "dataset")
    seeds: tuple[int, ...] = _at("results.rule.seeds", "seeds")
    sentences: tuple[str, ...]


def explanation_as_json(explanation: Explanation | Explained) -> dict[str, Any]:
    """The content of explain.json, and what `--json` prints."""
    content = Explained.model_validate(explanation).model_dump(mode="json", by_alias=True)
    return {key: answer for key, answer in content.items() if answer is not None}


def read_explanation(folder: Path) -> Explained | None:
    """The explanation that a study folder holds; None if it has none.

    Raises: StudyError if the file is damaged.
    """
    return read_sealed(folder, EXPLAIN_FILE, Explained, "Make it again with tiebreak explain.")


def curves_of(explained: Explained) -> Iterator[dict[str, Any]]:
    """What the page draws as lines over an axis: accuracy by amount of data, and by each distortion."""
    if explained.data and explained.data.points:
        yield {
            "title": "Test accuracy against the number of training images.",
            "axis": "training images",
            "log": True,
            "series": _series(explained, explained.data.points, "images"),
        }
    points = sorted(explained.shift or (), key=lambda point: (point.distortion, point.strength))
    for distortion, group in groupby(points, key=lambda point: point.distortion):
        of_distortion = list(group)
        yield {
            "title": f"Test accuracy on distorted test images: {distortion}.",
            "axis": f"{distortion} ({of_distortion[0].unit})",
            "log": False,
            "series": _series(explained, of_distortion, "strength"),
        }


def _series(explained: Explained, points: Any, x: str) -> list[dict[str, Any]]:
    """One line a contender: {label, x, y}."""
    return [
        {
            "label": label,
            "x": [getattr(point, x) for point in points],
            "y": [getattr(point, side).mean for point in points],
        }
        for side, label in (("a", explained.a), ("b", explained.b))
    ]
