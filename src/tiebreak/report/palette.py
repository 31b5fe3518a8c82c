"""One colour a contender, the same in terminal, figures and pages."""

import colorsys
from collections.abc import Sequence
from itertools import count, islice

# Okabe & Ito's set, told apart with every common kind of colour blindness
# (https://jfly.uni-koeln.de/color/), in an order that also differs in lightness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#F0E442")
GOLDEN_RATIO = (5**0.5 - 1) / 2  # of a turn from hue to hue: never two close ones in a row
LIGHTNESS = (0.35, 0.62, 0.5)


def contender_colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each label, by its place in the study; no two are the same."""
    return dict(zip(labels, _colours(len(labels)), strict=True))


def _colours(number: int) -> tuple[str, ...]:
    """The set's own first, then turns around the wheel of hues at changing lightness."""
    further = (
        colorsys.hls_to_rgb(place * GOLDEN_RATIO % 1, LIGHTNESS[place % len(LIGHTNESS)], 0.55)
        for place in count()
    )
    in_hex = ("#" + "".join(f"{round(255 * part):02X}" for part in rgb) for rgb in further)
    return (*COLOURS, *islice(in_hex, max(0, number - len(COLOURS))))[:number]
