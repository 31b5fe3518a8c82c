"""The figure of accuracy against what training costs."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from tiebreak.evidence.compare.pareto import Candidate, CostOf, Place, places
from tiebreak.report.figures.style import legend_beside, new_axes, save_figure
from tiebreak.report.palette import COLOURS

NAMES = {CostOf.SECONDS: "seconds of training", CostOf.FLOPS: "FLOPs of training"}
SIZE = (9.0, 5.0)  # inches


def plot_pareto(candidates: Sequence[Candidate], cost: CostOf, ax: Axes | None = None) -> Axes:
    """A numbered point a contender with its intervals both ways; the front is a line."""
    axes = ax or new_axes(*SIZE)
    found, points = list(zip(candidates, places(candidates), strict=True)), []
    for number, (one, place) in enumerate(found, start=1):
        across = [[one.cost.mean - one.cost.low], [one.cost.high - one.cost.mean]]
        up = [
            [100 * (one.accuracy.mean - one.accuracy.low)],
            [100 * (one.accuracy.high - one.accuracy.mean)],
        ]
        at = (one.cost.mean, 100 * one.accuracy.mean)
        colour = COLOURS[0] if place is Place.FRONT else "grey"
        points.append(
            axes.errorbar(*at, xerr=across, yerr=up, marker="o", color=colour, capsize=3, linewidth=1)
        )
        axes.annotate(str(number), at, (5, 4), textcoords="offset points", weight="bold")
    front = sorted((one.cost.mean, 100 * one.accuracy.mean) for one, place in found if place is Place.FRONT)
    axes.plot(
        *zip(*front, strict=True), color=COLOURS[0], linestyle="--", linewidth=1, drawstyle="steps-post"
    )
    axes.set(xscale="log", xlabel=NAMES[cost], ylabel="test accuracy, %")
    axes.set_title("Accuracy against cost; dashed: nobody is cheaper and more accurate", fontsize=10)
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(LogFormatter(minor_thresholds=(1.5, 0.5)))
    axes.grid(alpha=0.3)
    legend_beside(axes, points, [f"{number}  {one.label}" for number, one in enumerate(candidates, start=1)])
    return axes


def save_pareto(candidates: Sequence[Candidate], cost: CostOf, folder: Path) -> list[Path]:
    """Write it as pareto.png and pareto.svg."""
    figure = Figure(figsize=SIZE, layout="constrained")
    plot_pareto(candidates, cost, ax=figure.subplots())
    return save_figure(figure, folder / "pareto")
