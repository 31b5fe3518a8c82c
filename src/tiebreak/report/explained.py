"""The explanation of a study, as far as its folder holds one (explain.json)."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tiebreak.errors import StudyError

EXPLAIN_FILE = "explain.json"


class Part(BaseModel):
    """What the parts have in common: keys that the page does not know are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Arrangement(Part):
    """The lead on the images as they are, and on permuted pixels; fractions."""

    lead: float
    lead_permuted: float
    difference: float
    ci_low: float
    ci_high: float
    share: float | None = None


class Step(Part):
    """One step of the ladder; the gain is a fraction."""

    start: str = Field(alias="from")
    to: str
    gain: float
    ci_low: float
    ci_high: float


class Line(Part):
    """One contender's test accuracy (a fraction) along a curve."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Curve(Part):
    """A figure of lines: what the x axis is, and whether it is logarithmic."""

    title: str
    axis: str
    log: bool = False
    series: tuple[Line, ...]


class Explanation(Part):
    """The content of explain.json that the page draws."""

    arrangement: Arrangement | None = None
    ladder: tuple[Step, ...] = ()
    sentences: tuple[str, ...] = ()
    curves: tuple[Curve, ...] = ()


def read_explanation(folder: Path) -> dict[str, Any] | None:
    """The explanation as plain values; None if the study has none.

    Raises: StudyError if the file is damaged.
    """
    path = folder / EXPLAIN_FILE
    if not path.is_file():
        return None
    try:
        return Explanation.model_validate_json(path.read_bytes()).model_dump(mode="json", by_alias=True)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "it is no JSON"
        raise StudyError(f"{path} is damaged ({where}). Make it again with tiebreak explain.") from None
