"""Matplotlib figures of classes. Each draws on the axes it is given, or on new ones, and returns them."""

import numpy as np
from matplotlib.axes import Axes

from tiebreak.evidence.compare.per_class import compare_classes, confusion
from tiebreak.evidence.describe.predictions import predicted_by
from tiebreak.report.figures.style import as_text, new_axes
from tiebreak.report.palette import contender_colours
from tiebreak.results.results import Results

CLASS_NAME = 24  # characters
MOST = 16.0  # inches of a figure's side


def plot_per_class(results: Results, a: str, b: str, ax: Axes | None = None) -> Axes:
    """The paired difference a - b in test accuracy within each class, in points, with its interval.

    `a`, `b`: labels of contenders. Each bar has the colour of the one that leads.
    Raises: EvidenceError if one has no finished run, or they have no seed in common.
    """
    entries = compare_classes(predicted_by(results, a), predicted_by(results, b), level=results.rule.level)
    colours = contender_colours(results.labels)
    axes = ax or new_axes(6, max(5.0, min(0.2 * len(entries), MOST)))
    places = np.arange(len(entries))
    differences = np.array([100 * (entry.accuracy_a - entry.accuracy_b) for entry in entries])
    axes.barh(places, differences, color=[colours[a if d >= 0 else b] for d in differences], alpha=0.75)
    for place, entry in zip(places, entries, strict=True):
        if entry.comparison:
            ends = (100 * entry.comparison.ci_low, 100 * entry.comparison.ci_high)
            axes.plot(ends, (place, place), color="0.2", marker="|")
    axes.axvline(0, color="0.2", linewidth=1)
    axes.set_yticks(
        places,
        [as_text(results.examples.class_names[entry.label], CLASS_NAME) for entry in entries],
        fontsize=_font(len(entries)),
    )
    axes.invert_yaxis()
    axes.set(xlabel=f"{as_text(a)} − {as_text(b)} (points)", title="Difference in test accuracy by class")  # noqa: RUF001
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def plot_confusion(results: Results, label: str, ax: Axes | None = None) -> Axes:
    """What a contender takes each class (row) for (column), as a share of the row, over all finished seeds.

    Raises: EvidenceError if it has no finished run.
    """
    counts = confusion(predicted_by(results, label))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [as_text(name, CLASS_NAME) for name in results.examples.class_names]
    side = max(5.0, min(0.2 * len(names), MOST))
    axes = ax or new_axes(side + 1, side)
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)  # the root lets small shares be seen
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=_font(len(names)))
    axes.set_yticks(range(len(names)), names, fontsize=_font(len(names)))
    if len(names) <= 20:
        for (row, column), share in np.ndenumerate(shares):
            if share:
                colour = "white" if share > 0.35 else "black"
                axes.text(
                    column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=8
                )
    axes.set(xlabel="predicted", ylabel="true", title=f"{as_text(label)}: percent of each class")
    return axes


def _font(classes: int) -> float:
    """Points of a class's name: as large as its row of a figure allows."""
    return 10.0 if classes <= 20 else max(4.0, min(8.0, 72 * 0.6 * MOST / classes))
