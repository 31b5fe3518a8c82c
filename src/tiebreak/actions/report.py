"""Figures and page of a study that is there."""

from pathlib import Path

from tiebreak.actions.judge import Verdicts, judge
from tiebreak.report.page.html import write_page


def write_report(folder: Path | str) -> Verdicts:
    """Judge a study again, draw its figures and write its page (report.html), from its folder alone.

    Raises: StudyError as `judge`.
    """
    results = judge(folder)
    draw_figures(results)
    write_page(results.stored, results.results, results.contenders, results.judgements)
    return results


def draw_figures(results: Verdicts) -> list[Path]:
    """Write the figures of a study into its folder, as PNG and SVG."""
    # Matplotlib is imported when it is needed: training begins that much earlier.
    from tiebreak.report.figures.curves import save_figures
    from tiebreak.report.figures.differences import save_differences

    names = {contender.label: contender.folder for contender in results.stored.study.contenders}
    figures = results.folder / "figures"
    return [
        *save_figures(results.histories, figures, names),
        *save_differences(results.judgements, figures),
    ]
