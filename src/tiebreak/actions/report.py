"""Figures and page of a study that is there."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from tiebreak.actions.judge import Verdicts, judge, stored_of
from tiebreak.actions.judged_page import draw_judged
from tiebreak.actions.page import write_study_page

# What libraries that draw, compress and lay out raise where they meet a thing they did not expect.
DRAWING_FAILS = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def write_report(folder: Path | str) -> Verdicts:
    """Judge a study again, draw its figures and write its page (report.html), from its folder alone.

    A picture that cannot be drawn is a note beside the verdict.

    Raises: StudyError as `judge`, or if a file that the page shows is damaged.
    """
    verdicts = judge(folder)
    return draw_all(verdicts) if verdicts.stored else draw_judged(verdicts)


def draw_all(verdicts: Verdicts) -> Verdicts:
    """Draw the figures, then the page; what cannot be drawn joins the notes, which the page shows too.

    Raises: StudyError if a file that the page shows is damaged.
    """
    for what, draw in (("figures", draw_figures), ("report.html", write_study_page)):
        failed = failure_note(what, partial(draw, verdicts))
        verdicts = replace(verdicts, notes=(*verdicts.notes, *failed))
    return verdicts


def failure_note(what: str, draw: Callable[[], object]) -> Iterator[str]:
    """Draw something; a note if that fails."""
    try:
        draw()
    except DRAWING_FAILS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        yield f"{what} could not be drawn: {reason}."


def draw_figures(verdicts: Verdicts) -> list[Path]:
    """Write the figures of a study into its folder, as PNG and SVG."""
    # Matplotlib is imported when it is needed: training begins that much earlier.
    from tiebreak.report.figures.curves import save_figures
    from tiebreak.report.figures.differences import save_differences

    names = {contender.label: contender.folder for contender in stored_of(verdicts).study.contenders}
    figures = verdicts.folder / "figures"
    return [
        *save_figures(verdicts.histories, figures, names),
        *save_differences(verdicts.judgements, figures),
    ]
