"""Figures and page of results that were made elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tiebreak.actions.judge import Verdicts

# What libraries that draw, compress and lay out raise where they meet a thing they did not expect.
DRAWING_FAILS = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def draw_judged(verdicts: Verdicts, images: Path | None = None) -> Verdicts:
    """Draw the figure of differences, then the page; what cannot be drawn joins the notes.

    `images`: a folder in which the examples' ids are paths of images.
    """
    from tiebreak.report.figures.differences import save_differences  # matplotlib, only when it is needed
    from tiebreak.report.page.judged import write_judged_page

    notes = list(verdicts.notes)
    with noting_failure("figures", notes):
        save_differences(verdicts.judgements, verdicts.folder / "figures")
    with noting_failure("report.html", notes):
        write_judged_page(
            verdicts.folder,
            verdicts.results,
            verdicts.contenders,
            verdicts.ranking,
            verdicts.judgements,
            notes,
            images,
        )
    return replace(verdicts, notes=tuple(notes))


@contextmanager
def noting_failure(what: str, notes: list[str]) -> Iterator[None]:
    """Go on if something cannot be drawn, and add that to the notes."""
    try:
        yield
    except DRAWING_FAILS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        notes.append(f"{what} could not be drawn: {reason}.")
