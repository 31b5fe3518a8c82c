"""A data set is held in memory whole: what cannot fit is refused before anything is read."""

import os

from tiebreak.errors import DataError

INFLATION = 1_033  # deflate makes no more bytes than this of one
LARGEST_SHARE = 0.5  # of the machine's memory


def check_fits_memory(name: str, needed: int, remedy: str) -> None:
    """Refuse what cannot be held.

    Raises: DataError if so many bytes are more than half of the machine's memory, as far as that is known.
    """
    whole = machine_memory()
    if whole is not None and needed > LARGEST_SHARE * whole:
        raise DataError(
            f"{name}: the images need {needed / 1e9:,.1f} GB of memory, more than half of this machine's "
            f"{whole / 1e9:,.1f} GB. {remedy}"
        )


def machine_memory() -> int | None:
    """Bytes of memory that the machine has; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
