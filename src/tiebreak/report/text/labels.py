"""Names that are too long for their place, cut so that they can still be told apart."""

from collections.abc import Sequence
from itertools import zip_longest

CUT = "…"


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters: cut in the middle, as variants differ at their ends."""
    if len(text) <= most:
        return text
    head = (most - len(CUT)) // 2
    return f"{text[:head]}{CUT}{text[len(text) - (most - len(CUT) - head) :]}"


def short_labels(labels: Sequence[str], most: int) -> dict[str, str]:
    """Each label in at most so many characters. Where two would look alike, from where they differ on."""
    short = {label: shortened(label, most) for label in labels}
    for look in set(short.values()):
        alike = [label for label in short if short[label] == look]
        if len(alike) > 1:
            start = next(at for at, letters in enumerate(zip_longest(*alike)) if len(set(letters)) > 1)
            head = most // 4
            for label in alike:
                end = shortened(label[start:], most - head - len(CUT))
                short[label] = f"{label[:head]}{CUT}{end}"
    return short
