"""A seeded test part for data sets that come without one.

Shape letters: N images, n of them for training, t for testing, C channels, H height, W width.
"""

from typing import NamedTuple

from jaxtyping import Int64, UInt8
from torch import Tensor

from tiebreak.data.split import split_indices
from tiebreak.errors import DataError

SEED = 0  # always the same test part, so that results of different days can be compared


class HeldOut(NamedTuple):
    """Both parts, and the sentence about them that every report must give."""

    train_images: UInt8[Tensor, "n C H W"]
    train_labels: Int64[Tensor, " n"]
    test_images: UInt8[Tensor, "t C H W"]
    test_labels: Int64[Tensor, " t"]
    note: str


def check_test_fraction(fraction: float) -> None:
    """Raises: DataError unless 0 < fraction < 1."""
    if not 0 < fraction < 1:
        raise DataError(f"test_fraction must lie between 0 and 1, got {fraction}.")


def hold_out(
    name: str, images: UInt8[Tensor, "N C H W"], labels: Int64[Tensor, " N"], fraction: float
) -> HeldOut:
    """Split off a test part, stratified by class.

    Raises: DataError if a part would be empty.
    """
    check_test_fraction(fraction)
    size = round(len(labels) * fraction)
    if not 0 < size < len(labels):
        raise DataError(
            f"{name}: {len(labels)} images are too few to split off {fraction:.0%} of them for testing."
        )
    train, test = split_indices(labels, size, SEED)
    note = (
        f"{name} has no test part of its own: {size:,} of {len(labels):,} images were split off "
        f"(stratified, seed {SEED})"
    )
    return HeldOut(images[train], labels[train], images[test], labels[test], note)
