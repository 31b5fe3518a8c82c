"""What all matplotlib figures have in common: text as text, legends beside the axes, files that repeat."""

import warnings
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tiebreak.files import atomic_write
from tiebreak.report.text.labels import shortened

LEGEND_ROWS = 18
LABEL = 40  # characters of a name in a figure


def as_text(label: str, most: int = LABEL) -> str:
    """A name as matplotlib is to show it: never a formula, and not longer than its place."""
    return shortened(label, most).replace("$", r"\$")


def legend_beside(axes: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend to the right of the axes; labels that begin with an underscore are in it, too."""
    axes.legend(
        handles,
        [as_text(label) for label in labels],
        frameon=False,
        fontsize="small",
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        ncols=ceil(len(labels) / LEGEND_ROWS),
    )


def new_axes(width: float, height: float) -> Axes:
    """Axes of a new figure that a notebook or script shows."""
    from matplotlib import pyplot as plt  # only they need its windows

    _, axes = plt.subplots(figsize=(width, height), layout="constrained")
    return axes


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """Write one figure as path.png and path.svg."""
    paths = [path.with_name(f"{path.name}.{kind}") for kind in ("png", "svg")]
    # Fixed ids and no date: the same study gives the same bytes.
    with mpl.rc_context({"svg.hashsalt": "tiebreak", "svg.fonttype": "none"}), warnings.catch_warnings():
        # The font of the PNG lacks some scripts; the SVG keeps the text, and a viewer's fonts have them.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # laid out once: with an engine, each file is drawn twice
        for target in paths:
            metadata = {"Date": None} if target.suffix == ".svg" else {"Software": None}
            with atomic_write(target) as file:
                figure.savefig(file, format=target.suffix[1:], dpi=150, metadata=metadata)
    return paths
