"""The critical-difference diagram: mean ranks over data sets, and who cannot be told apart (Demsar 2006)."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tiebreak.evidence.compare.datasets import MeanRanks
from tiebreak.report.figures.style import as_text, new_axes, save_figure
from tiebreak.report.palette import COLOURS

WIDTH, LINE = 8.0, 0.28  # inches; of a name


def plot_mean_ranks(ranks: MeanRanks, ax: Axes | None = None) -> Axes:
    """An axis of mean ranks, the best at the right; a bar joins those that cannot be told apart."""
    count, bars = len(ranks.ranks), groups(ranks)
    axes = ax or new_axes(WIDTH, _height(count, len(bars)))
    right = (count + 1) // 2  # so many of the best have their names at the right
    for number, (label, rank) in enumerate(ranks.ranks.items()):
        best = number < right
        depth = len(bars) + 1 + (number if best else count - 1 - number)
        end = 1 - 0.04 * count if best else count + 0.04 * count
        axes.plot([rank, rank, end], [0, -depth, -depth], color="black", linewidth=0.8)
        name = f"{as_text(label, 30)}  {rank:.2f}"
        axes.text(end, -depth, f" {name} ", ha="left" if best else "right", va="center", fontsize=9)
    for depth, (best_rank, worst_rank) in enumerate(bars, start=1):
        axes.plot([best_rank - 0.03, worst_rank + 0.03], [-depth, -depth], color=COLOURS[0], linewidth=4)
    axes.plot([1, 1 + ranks.critical_difference], [1.2, 1.2], color="grey", marker="|")
    axes.text(1, 1.5, f"critical difference {ranks.critical_difference:.2f}", ha="right", fontsize=9)
    axes.set(xlim=(count + 0.5, 0.5), ylim=(-len(bars) - right - 1.5, 2.5), yticks=[])
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    axes.spines["top"].set_position(("data", 0))
    axes.xaxis.set_ticks_position("top")
    axes.set_xticks(range(1, count + 1))
    return axes


def groups(ranks: MeanRanks) -> list[tuple[float, float]]:
    """From which rank to which lie those of whom no two are a critical difference apart."""
    ordered = sorted(ranks.ranks.values())
    found: list[tuple[float, float]] = []
    for start in ordered:
        end = max(rank for rank in ordered if rank - start < ranks.critical_difference)
        if end > start and (not found or end > found[-1][1]):
            found.append((start, end))
    return found


def save_mean_ranks(ranks: MeanRanks, folder: Path) -> list[Path]:
    """Write it as mean_ranks.png and mean_ranks.svg."""
    height = _height(len(ranks.ranks), len(groups(ranks)))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    plot_mean_ranks(ranks, ax=figure.subplots())
    return save_figure(figure, folder / "mean_ranks")


def _height(contenders: int, bars: int) -> float:
    return 1.0 + LINE * (bars + (contenders + 1) // 2)
