"""Figures of classes draw what the evidence says, on the axes they are given."""

from matplotlib.figure import Figure

from tiebreak.actions.judge import Verdicts
from tiebreak.evidence.compare.per_class import compare_classes, confusion
from tiebreak.evidence.describe.predictions import predicted_by
from tiebreak.report.figures.classes import plot_confusion, plot_per_class


def test_differences_are_the_evidences(kinds: Verdicts) -> None:
    axes = Figure().subplots()
    assert plot_per_class(kinds.results, "mlp", "cnn", ax=axes) is axes
    entries = compare_classes(predicted_by(kinds.results, "mlp"), predicted_by(kinds.results, "cnn"))
    assert [bar.get_width() for bar in axes.patches] == [
        100 * (entry.accuracy_a - entry.accuracy_b) for entry in entries
    ]
    assert axes.get_xlabel() == "mlp − cnn (points)"  # noqa: RUF001
    ends = axes.lines[0].get_xdata()
    assert entries[0].comparison is not None
    assert list(ends) == [100 * entries[0].comparison.ci_low, 100 * entries[0].comparison.ci_high]


def test_confusion_is_in_percent_of_the_row(kinds: Verdicts) -> None:
    axes = Figure().subplots()
    assert plot_confusion(kinds.results, "mlp", ax=axes) is axes
    counts = confusion(predicted_by(kinds.results, "mlp"))
    written = {text.get_position(): text.get_text() for text in axes.texts}
    for row in range(3):
        for column in range(3):
            share = counts[row, column] / counts[row].sum()
            assert written.get((column, row), "") == (f"{100 * share:.0f}" if share else "")
