"""Figures of what the runs prove: differences with their intervals, and the power of a plan."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tiebreak.evidence.compare.judgement import Judgement
from tiebreak.evidence.compare.verdict import Outcome
from tiebreak.evidence.plan.budget import Budget
from tiebreak.report.figures.style import as_text, new_axes, save_figure
from tiebreak.report.palette import COLOURS
from tiebreak.report.text.findings import on_top

ROW_HEIGHT, LEAST_ROW_HEIGHT, MOST_HEIGHT = 0.75, 0.25, 9.0  # inches


def plot_differences(judgements: Sequence[Judgement], ax: Axes | None = None) -> Axes:
    """A forest plot: a pair's difference in test accuracy, its interval, and a dot for each single seed.

    An interval in colour belongs to a pair that is decided; a shaded band is the equivalence margin. Of many
    pairs, those with the contender on top, or with the baseline.
    """
    shown = on_top(judgements)
    axes = ax or new_axes(8, _height(len(shown)))
    margin = next((judgement.verdict.margin for judgement in shown), None)
    if margin is not None:
        axes.axvspan(-100 * margin, 100 * margin, color="0.9", zorder=0, label="equivalence margin")
    axes.axvline(0, color="0.4", linewidth=1, zorder=1)
    rows = np.arange(len(shown))
    comparisons = [judgement.verdict.comparison for judgement in shown]
    open_ = [judgement.verdict.outcome is Outcome.UNDECIDED for judgement in shown]
    colours = ["0.35" if undecided else COLOURS[0] for undecided in open_]
    low, middle, high = (
        [100 * getattr(comparison, end) for comparison in comparisons]
        for end in ("ci_low", "difference", "ci_high")
    )
    axes.hlines(rows, low, high, colors=colours, linewidth=2.5, zorder=3)
    axes.scatter(middle, rows, s=45, c=colours, marker="D", zorder=4)
    for row, comparison in zip(rows, comparisons, strict=True):
        seeds = 100 * np.array(comparison.seed_differences)
        axes.plot(seeds, np.full(len(seeds), row + 0.28), "o", color=COLOURS[1], markersize=4, alpha=0.7)
    axes.set_yticks(rows, [f"{as_text(pair.a)} minus {as_text(pair.b)}" for pair in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    _label_differences(axes, shown, len(judgements))
    return axes


def _height(rows: int) -> float:
    """Inches of a figure with so many rows; many stand closer together."""
    return 1.6 + min(ROW_HEIGHT * rows, max(MOST_HEIGHT, LEAST_ROW_HEIGHT * rows))


def _label_differences(axes: Axes, judgements: Sequence[Judgement], pairs: int) -> None:
    level = judgements[0].verdict.comparison.level if judgements else 0.95
    some = f" ({len(judgements)} of {pairs} pairs)" if len(judgements) < pairs else ""
    axes.set_xlabel("difference in test accuracy, points")
    axes.set_title(f"Differences with {100 * level:g}% intervals{some}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3)
    axes.plot([], [], "D-", color="0.35", linewidth=2.5, label="difference, interval (blue: decided)")
    axes.plot([], [], "o", color=COLOURS[1], markersize=4, label="single seeds")
    axes.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def plot_power(budget: Budget, ax: Axes | None = None) -> Axes:
    """The probability of showing a difference, over the number of seeds."""
    axes = ax or new_axes(6, 4)
    wanted = budget.advice.power_wanted
    axes.plot(budget.seeds, budget.power, color=COLOURS[0], marker="o", markersize=4)
    axes.axhline(wanted, color="0.4", linewidth=1, linestyle="--")
    axes.annotate(f"{wanted:.0%}", (budget.seeds[-1], wanted), (0, 3), textcoords="offset points", ha="right")
    if budget.advice.seeds:
        axes.axvline(budget.advice.seeds, color=COLOURS[1], linewidth=1)
        axes.annotate(
            f" {budget.advice.seeds} seeds", (budget.advice.seeds, 0.02), color=COLOURS[1], va="bottom"
        )
    points = f"{100 * budget.advice.difference:g}"
    axes.set(
        xlabel="seeds",
        ylabel="power",
        ylim=(0, 1.02),
        title=f"Power to show a difference of {points} point{'' if points == '1' else 's'}",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    return axes


def save_differences(judgements: Sequence[Judgement], folder: Path) -> list[Path]:
    """Write the forest plot as PNG and SVG; nothing where there is no comparison."""
    if not judgements:
        return []
    figure = Figure(figsize=(10, _height(len(on_top(judgements)))), layout="constrained")
    plot_differences(judgements, ax=figure.subplots())
    return save_figure(figure, folder / "differences")


def save_power(budget: Budget, folder: Path) -> list[Path]:
    """Write the power curve as PNG and SVG."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    plot_power(budget, ax=figure.subplots())
    return save_figure(figure, folder / "power")
