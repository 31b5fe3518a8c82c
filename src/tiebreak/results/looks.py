"""When a study that trains seeds until it is decided looks at what it has."""

from collections.abc import Sequence
from itertools import pairwise

DEFAULT_LOOKS = (3, 5, 8, 12, 20, 30)


def looks_up_to(max_seeds: int, looks: Sequence[int] = DEFAULT_LOOKS) -> tuple[int, ...]:
    """The looks below a maximum, and a last one at it.

    >>> looks_up_to(8), looks_up_to(10)
    ((3, 5, 8), (3, 5, 8, 10))
    """
    return (*(look for look in looks if look < max_seeds), max_seeds)


def are_rising(looks: Sequence[int]) -> bool:
    """Whether they are numbers of seeds, each more than the one before, from the 2 on that show a spread."""
    return bool(looks) and looks[0] >= 2 and all(a < b for a, b in pairwise(looks))
