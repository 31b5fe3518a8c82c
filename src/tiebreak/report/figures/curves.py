"""Learning curves. Each function draws on the axes it is given, or on new ones, and returns them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tiebreak.evidence.describe.curves import stacked
from tiebreak.report.figures.style import as_text, legend_beside, save_figure
from tiebreak.report.palette import COLOURS, contender_colours
from tiebreak.results.run import History

AxesPair = tuple[Axes, Axes]
MOST_HISTORIES = 12  # figures of single contenders; with more, they are in the comparison and the page alone


def plot_history(
    histories: History | Sequence[History], title: str = "", ax: Iterable[Axes] | None = None
) -> AxesPair:
    """Loss and accuracy of one contender over the epochs, train and val; a mean and a band over seeds.

    `ax`: two axes, for loss and accuracy. The band goes from the lowest to the highest seed.
    """
    runs = _as_list(histories)
    left, right = _two_axes(ax)
    colours = {"train": COLOURS[1], "val": COLOURS[0]}
    for axes, quantity, name in ((left, "loss", "Loss"), (right, "acc", "Accuracy")):
        lines = [
            _draw_band(axes, stacked(runs, f"{part}_{quantity}"), colour) for part, colour in colours.items()
        ]
        _label(axes, name, f"{title}: {name.lower()}" if title else name)
    legend_beside(right, lines, list(colours))
    return left, right


def plot_comparison(
    histories: Mapping[str, History | Sequence[History]], ax: Iterable[Axes] | None = None
) -> AxesPair:
    """Validation accuracy and loss of all contenders side by side; a mean and a band over seeds.

    `histories`: by contender label. `ax`: two axes, for accuracy and loss.
    """
    left, right = _two_axes(ax)
    colours = contender_colours(list(histories))
    for axes, curve, name in (
        (left, "val_acc", "Validation accuracy"),
        (right, "val_loss", "Validation loss"),
    ):
        lines = [
            _draw_band(axes, stacked(_as_list(runs), curve), colours[label])
            for label, runs in histories.items()
        ]
        _label(axes, name, name)
    legend_beside(right, lines, list(histories))
    return left, right


def save_figures(
    histories: Mapping[str, Sequence[History]], folder: Path, names: Mapping[str, str]
) -> list[Path]:
    """Write the comparison, and the curves of each of few contenders, as PNG and SVG; gives their paths.

    `names`: the file name, without ending, for each contender's figure.
    """
    drawn = {label: runs for label, runs in histories.items() if runs}
    if not drawn:
        return []
    figure = Figure(figsize=(10 + len(drawn) // 10, 4), layout="constrained")
    plot_comparison(drawn, ax=figure.subplots(1, 2))
    paths = save_figure(figure, folder / "comparison")
    for label, runs in drawn.items() if len(drawn) <= MOST_HISTORIES else ():
        figure = Figure(figsize=(10, 4), layout="constrained")
        plot_history(runs, label, ax=figure.subplots(1, 2))
        paths += save_figure(figure, folder / f"history-{names[label]}")
    return paths


def _as_list(histories: History | Sequence[History]) -> list[History]:
    return list(histories) if isinstance(histories, Sequence) else [histories]


def _two_axes(ax: Iterable[Axes] | None) -> AxesPair:
    if ax is None:
        from matplotlib import pyplot as plt  # only a notebook or script needs its windows

        _, ax = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
    left, right = ax
    return left, right


def _draw_band(axes: Axes, curves: np.ndarray, colour: str) -> Line2D:
    epochs = np.arange(1, curves.shape[1] + 1)
    [line] = axes.plot(epochs, curves.mean(axis=0), color=colour, marker="o", markersize=3)
    if len(curves) > 1:
        axes.fill_between(
            epochs, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.2, linewidth=0
        )
    return line


def _label(axes: Axes, quantity: str, title: str) -> None:
    axes.set(xlabel="Epoch", ylabel=quantity, title=as_text(title))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
