"""Figures of an explanation. Each function draws on the axes it is given and returns them."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tiebreak.evidence.compare.comparison import Comparison
from tiebreak.evidence.why.answers import Explanation
from tiebreak.evidence.why.efficiency import DataCurve
from tiebreak.evidence.why.robustness import Breakdown, DistortedPoint
from tiebreak.evidence.why.spatial import Arrangement, Ladder
from tiebreak.report.figures.style import as_text, legend_beside, save_figure
from tiebreak.report.palette import COLOURS

HIGHEST = 100.0  # accuracy, in percent; an interval that reaches further is cut there
LABEL_WIDTH = 18  # characters
COLOUR_A, COLOUR_B, COLOUR_GAIN, COLOUR_LOSS = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[3]


def plot_ladder(ladder: Ladder, axes: Axes) -> Axes:
    """A waterfall: accuracy of the first rung, what each step adds with its interval, the last rung."""
    rungs = ladder.rungs
    heights = [100 * rung.accuracy.mean for rung in rungs]
    last = len(ladder.steps) + 1
    axes.bar(0, heights[0], color=COLOUR_A, width=0.6)
    axes.bar(last, heights[-1], color=COLOUR_B, width=0.6)
    for place, (step, base, top) in enumerate(zip(ladder.steps, heights, heights[1:], strict=False), start=1):
        gain = step.gain
        colour = COLOUR_GAIN if gain.difference >= 0 else COLOUR_LOSS
        axes.bar(place, top - base, bottom=base, color=colour, width=0.6)
        axes.errorbar(place, top, yerr=_reach(gain), color="black", capsize=4)
        axes.plot([place - 0.7, place + 0.7], [base, base], color="grey", linewidth=0.8, linestyle=":")
        text = f"{100 * gain.difference:+.1f}\n{100 * gain.ci_low:.1f} to {100 * gain.ci_high:.1f}"
        head = min(max(base, top, base + 100 * gain.ci_high), HIGHEST)
        axes.annotate(text, (place, head), (0, 4), textcoords="offset points", ha="center", fontsize=8)
    for place, height in ((0, heights[0]), (last, heights[-1])):
        axes.annotate(f"{height:.1f}", (place, height), (0, 4), textcoords="offset points", ha="center")
    names = [rungs[0].label, *(f"{s.ingredient}\n{s.end}" for s in ladder.steps), rungs[-1].label]
    axes.set_xticks(range(last + 1), [_narrow(name) for name in names], fontsize=9)
    tops = [
        min(base + 100 * max(step.gain.ci_high, 0), HIGHEST)
        for step, base in zip(ladder.steps, heights, strict=False)
    ]
    axes.set_ylim(0, 1.15 * max(*heights, *tops))
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= HIGHEST])
    level = f"{100 * ladder.lead.level:g}%"
    return _finish(axes, f"What each ingredient brings ({level} intervals)")


def plot_permutation(arrangement: Arrangement, axes: Axes) -> Axes:
    """Accuracy of both before and after the permutation; a line a contender, a dot a seed."""
    labels, lines = list(arrangement.accuracy), []
    for contender, permuted, colour in zip(labels[:2], labels[2:], (COLOUR_A, COLOUR_B), strict=True):
        ends = [arrangement.accuracy[contender], arrangement.accuracy[permuted]]
        means = [100 * end.mean for end in ends]
        lines += axes.plot([0, 1], means, color=colour, linewidth=2)
        for place, end in enumerate(ends):
            values = 100 * np.array(end.values)
            axes.plot(np.full(len(values), place), values, "o", color=colour, alpha=0.6, markersize=5)
    for place, lead in ((0, arrangement.lead), (1, arrangement.lead_permuted)):
        middle = 50 * sum(arrangement.accuracy[label].mean for label in labels[2 * place : 2 * place + 2])
        text = f"lead {100 * lead.difference:+.1f}\n{100 * lead.ci_low:.1f} to {100 * lead.ci_high:.1f}"
        side = -1 if place == 0 else 1
        axes.annotate(
            text,
            (place, middle),
            (10 * side, 0),
            textcoords="offset points",
            ha="right" if place == 0 else "left",
            va="center",
            fontsize=8,
        )
    axes.set_xticks([0, 1], ["images as they are", "pixels permuted"])
    axes.set_xlim(-0.45, 1.45)
    legend_beside(axes, lines, labels[:2])
    _finish(axes, "What a permutation of the pixels takes away")
    axes.set_ylim(0, min(1.1 * axes.get_ylim()[1], HIGHEST))
    return axes


def plot_data_curve(curve: DataCurve, axes: Axes) -> Axes:
    """Accuracy of both over the number of training images; the bar between them is the lead's interval."""
    images = [point.images for point in curve.points]
    means_a = np.array([100 * point.accuracy_a.mean for point in curve.points])
    means_b = np.array([100 * point.accuracy_b.mean for point in curve.points])
    lines = axes.plot(images, means_a, "o-", color=COLOUR_A)
    lines += axes.plot(images, means_b, "o-", color=COLOUR_B)
    reaches = np.concatenate([_reach(point.lead) for point in curve.points], axis=1)
    axes.errorbar(images, means_b, yerr=reaches, color=COLOUR_B, fmt="none", capsize=3)
    axes.set_xscale("log", base=2)
    axes.set_xticks(images, [f"{count:,}" for count in images], fontsize=8)
    axes.set_xlabel("Training images (same number of steps)")
    legend_beside(axes, lines, [curve.a, curve.b])
    _finish(axes, "Accuracy by amount of data (bar: interval of the lead)")
    axes.set_ylim(0, min(axes.get_ylim()[1], HIGHEST))
    return axes


def plot_distortions(breakdown: Breakdown, rows: Sequence[Axes]) -> Sequence[Axes]:
    """Accuracy of both over the strength of each distortion, one axes each."""
    by_name: dict[str, list[DistortedPoint]] = {}
    for point in breakdown.points:
        by_name.setdefault(point.distortion, []).append(point)
    for axes, (name, points) in zip(rows, by_name.items(), strict=True):
        strengths = [point.strength for point in points]
        lines = axes.plot(strengths, [100 * p.accuracy_a.mean for p in points], "o-", color=COLOUR_A)
        means = [100 * p.accuracy_b.mean for p in points]
        lines += axes.plot(strengths, means, "o-", color=COLOUR_B)
        reaches = np.concatenate([_reach(point.lead) for point in points], axis=1)
        axes.errorbar(strengths, means, yerr=reaches, color=COLOUR_B, fmt="none", capsize=3)
        unit = points[0].unit
        axes.set_xlabel(unit if len(unit) < 12 else "fraction of the range")
        _finish(axes, name)
        axes.set_ylim(0, HIGHEST)
    for axes in rows[1:]:
        axes.set_ylabel("")
    legend_beside(rows[-1], lines, [breakdown.a, breakdown.b])
    return rows


def _narrow(label: str) -> str:
    """A label cut into short lines at its spaces and before its arguments."""
    return "\n".join(
        as_text(line)
        for part in label.replace("(", "\n(").split("\n")
        for line in textwrap.wrap(part, LABEL_WIDTH)
    )


def save_explanation_figures(explanation: Explanation, folder: Path) -> list[Path]:
    """Write a figure for each answer, as PNG and SVG; gives their paths."""
    paths = []
    if explanation.arrangement is not None:
        figure, axes = _figure(6, 4.2)
        plot_permutation(explanation.arrangement, axes)
        paths += save_figure(figure, folder / "permutation")
    for name, steps in (("ladder", explanation.ladder), ("control", explanation.control)):
        if steps is not None:
            figure, axes = _figure(2 + 1.7 * len(steps.rungs), 4.2)
            plot_ladder(steps, axes)
            paths += save_figure(figure, folder / name)
    if explanation.data is not None:
        figure, axes = _figure(7, 4.2)
        plot_data_curve(explanation.data, axes)
        paths += save_figure(figure, folder / "data")
    if explanation.shift is not None:
        kinds = {point.distortion for point in explanation.shift.points}
        figure = Figure(figsize=(3 * len(kinds), 3.2), layout="constrained")
        plot_distortions(explanation.shift, list(figure.subplots(1, len(kinds), sharey=True)))
        paths += save_figure(figure, folder / "shift")
    return paths


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _reach(comparison: Comparison) -> np.ndarray:
    """How far an interval reaches below and above its estimate, in points: shape (2, 1)."""
    below = comparison.difference - comparison.ci_low
    above = comparison.ci_high - comparison.difference
    return 100 * np.array([[max(below, 0.0)], [max(above, 0.0)]])


def _finish(axes: Axes, title: str) -> Axes:
    axes.set(ylabel="Test accuracy, %", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    return axes
