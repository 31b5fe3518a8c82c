"""Matplotlib figures. Each function draws on the axes it is given, or on new ones, and returns them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tiebreak.files import atomic_write
from tiebreak.report.palette import COLOURS, contender_colours
from tiebreak.results.run import History

AxesPair = tuple[Axes, Axes]


def plot_history(
    histories: History | Sequence[History], title: str = "", ax: Iterable[Axes] | None = None
) -> AxesPair:
    """Loss and accuracy of one contender over the epochs, train and val; a mean and a band over seeds.

    `ax`: two axes, for loss and accuracy. The band goes from the lowest to the highest seed.
    """
    runs = _as_list(histories)
    left, right = _two_axes(ax)
    for axes, quantity, name in ((left, "loss", "Loss"), (right, "acc", "Accuracy")):
        for part, colour in (("train", COLOURS[1]), ("val", COLOURS[0])):
            _draw_band(axes, _curves(runs, f"{part}_{quantity}"), part, colour)
        _label(axes, name, f"{title}: {name.lower()}" if title else name)
    return left, right


def plot_comparison(
    histories: Mapping[str, History | Sequence[History]], ax: Iterable[Axes] | None = None
) -> AxesPair:
    """Validation accuracy and loss of all contenders side by side; a mean and a band over seeds.

    `histories`: by contender label. `ax`: two axes, for accuracy and loss.
    """
    left, right = _two_axes(ax)
    colours = contender_colours(list(histories))
    for label, runs in histories.items():
        for axes, curve in ((left, "val_acc"), (right, "val_loss")):
            _draw_band(axes, _curves(_as_list(runs), curve), label, colours[label])
    _label(left, "Validation accuracy", "Validation accuracy")
    _label(right, "Validation loss", "Validation loss")
    return left, right


def save_figures(
    histories: Mapping[str, Sequence[History]], folder: Path, names: Mapping[str, str]
) -> list[Path]:
    """Write the comparison, and each contender's curves, as PNG and SVG; gives their paths.

    `names`: the file name, without ending, for each contender's figure.
    """
    paths = []
    for label, runs in histories.items():
        figure = Figure(figsize=(10, 4), layout="constrained")
        plot_history(runs, label, ax=figure.subplots(1, 2))
        paths += save_figure(figure, folder / f"history-{names[label]}")
    figure = Figure(figsize=(10, 4), layout="constrained")
    plot_comparison(histories, ax=figure.subplots(1, 2))
    return [*save_figure(figure, folder / "comparison"), *paths]


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """Write one figure as path.png and path.svg."""
    paths = [path.with_name(f"{path.name}.{kind}") for kind in ("png", "svg")]
    # Fixed ids and no date: the same study gives the same bytes.
    with mpl.rc_context({"svg.hashsalt": "tiebreak", "svg.fonttype": "none"}):
        for target in paths:
            metadata = {"Date": None} if target.suffix == ".svg" else {"Software": None}
            with atomic_write(target) as file:
                figure.savefig(file, format=target.suffix[1:], dpi=150, metadata=metadata)
    return paths


def _as_list(histories: History | Sequence[History]) -> list[History]:
    return list(histories) if isinstance(histories, Sequence) else [histories]


def _curves(runs: Sequence[History], curve: str) -> np.ndarray:
    return np.array([run[curve] for run in runs])  # type: ignore[literal-required]


def _two_axes(ax: Iterable[Axes] | None) -> AxesPair:
    if ax is None:
        from matplotlib import pyplot as plt  # only a notebook or script needs its windows

        _, ax = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
    left, right = ax
    return left, right


def _draw_band(axes: Axes, curves: np.ndarray, label: str, colour: str) -> None:
    epochs = np.arange(1, curves.shape[1] + 1)
    axes.plot(epochs, curves.mean(axis=0), color=colour, label=label, marker="o", markersize=3)
    if len(curves) > 1:
        axes.fill_between(
            epochs, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.2, linewidth=0
        )


def _label(axes: Axes, quantity: str, title: str) -> None:
    axes.set(xlabel="Epoch", ylabel=quantity, title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
