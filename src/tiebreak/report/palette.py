"""One colour a contender, the same in terminal, figures and pages."""

from collections.abc import Sequence

# Okabe & Ito's set, told apart with every common kind of colour blindness
# (https://jfly.uni-koeln.de/color/), in an order that also differs in lightness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#F0E442")


def contender_colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each label, by its place in the study."""
    return {label: COLOURS[index % len(COLOURS)] for index, label in enumerate(labels)}
