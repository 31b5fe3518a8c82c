"""Random changes of training images, drawn an epoch at a time: runs can be paired and resumed.

Shape letters: N images of an epoch, B of a batch, C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What is done to each training image each time it is shown."""

    flip: bool = False  # mirror left and right, half of the time
    crop: int = 0  # shift by up to this many pixels either way
    pad: str = "black"  # what a shift brings in from outside; or "reflect"
    cutout: int = 0  # the side of a square that gets the image's mean, at a random place, in part outside
    brightness: float = 0.0  # times a factor of up to 1 +- this
    contrast: float = 0.0  # likewise, about the image's own mean

    @property
    def moves(self) -> bool:
        """Whether images are mirrored or shifted."""
        return self.flip or self.crop > 0

    @property
    def changes(self) -> bool:
        """Whether pixels get other values, whose draws have a stream of their own."""
        return self.cutout > 0 or self.brightness > 0 or self.contrast > 0


@dataclass(frozen=True, kw_only=True, eq=False)
class AugmentDraws:
    """One epoch's random choices, one per image in the order of showing."""

    flipped: Bool[Tensor, " N"]
    down: Int64[Tensor, " N"]  # rows, -crop..crop
    right: Int64[Tensor, " N"]  # columns, -crop..crop
    place: Float[Tensor, "N 2"] | None = None  # of the centre of the square, as shares of height and width
    brightness: Float[Tensor, " N"] | None = None  # factors
    contrast: Float[Tensor, " N"] | None = None

    def __getitem__(self, here: slice) -> "AugmentDraws":
        return self._each(lambda drawn: drawn[here])

    def to(self, device: torch.device) -> "AugmentDraws":
        """The same choices, where the images are."""
        return self._each(lambda drawn: drawn.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "AugmentDraws":
        drawn: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {
            name: None if each is None else change(each) for name, each in drawn.items()
        }
        return AugmentDraws(**changed)


def draw_augmentation(
    augment: Augment, count: int, moves: torch.Generator | None, changes: torch.Generator | None = None
) -> AugmentDraws:
    """Draws for `count` images; all are drawn whatever is switched on, so that settings stay paired.

    `moves`, `changes`: the streams of what mirrors and shifts, and of what changes pixels.
    """
    flipped = torch.rand(count, generator=moves) < 0.5
    down, right = torch.randint(-augment.crop, augment.crop + 1, (2, count), generator=moves)
    drawn = AugmentDraws(flipped=flipped & augment.flip, down=down, right=right)
    if not augment.changes:
        return drawn
    place = torch.rand((count, 2), generator=changes)
    factors = 2 * torch.rand((2, count), generator=changes) - 1
    return AugmentDraws(
        flipped=drawn.flipped,
        down=down,
        right=right,
        place=place,
        brightness=1 + augment.brightness * factors[0],
        contrast=1 + augment.contrast * factors[1],
    )


def augment_batch(
    augment: Augment, images: UInt8[Tensor, "B C H W"], draws: AugmentDraws
) -> UInt8[Tensor, "B C H W"]:
    """The images as drawn: mirrored, shifted, brighter or darker, and with a square gone."""
    images = torch.where(draws.flipped[:, None, None, None], images.flip(3), images)
    if augment.crop:
        images = _shift(images, draws, augment.crop, augment.pad)
    if (
        draws.brightness is not None
        and draws.contrast is not None
        and (augment.brightness or augment.contrast)
    ):
        images = _brighten(images, draws.brightness, draws.contrast)
    return (
        _cut_out(images, draws.place, augment.cutout)
        if draws.place is not None and augment.cutout
        else images
    )


def _shift(
    images: UInt8[Tensor, "B C H W"], draws: AugmentDraws, crop: int, pad: str
) -> UInt8[Tensor, "B C H W"]:
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) + crop - draws.down[:, None]
    columns = torch.arange(width, device=images.device) + crop - draws.right[:, None]
    if pad == "reflect":  # by index, as PyTorch's own padding takes no bytes
        rows, columns = _reflected(rows - crop, height), _reflected(columns - crop, width)
        padded = images
    else:
        padded = F.pad(images, (crop,) * 4)
    which = torch.arange(len(images), device=images.device)[:, None, None]
    # Indexing with the channel axis left alone puts it last.
    return padded[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _reflected(index: Int64[Tensor, "B n"], size: int) -> Int64[Tensor, "B n"]:
    """Indices beyond an edge, mirrored at it; the edge itself is not repeated."""
    period = max(2 * (size - 1), 1)
    index = index.remainder(period)
    return torch.where(index < size, index, period - index)


def _brighten(
    images: UInt8[Tensor, "B C H W"], brightness: Float[Tensor, " B"], contrast: Float[Tensor, " B"]
) -> UInt8[Tensor, "B C H W"]:
    pixels = images.float()
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (pixels - mean) * contrast.view(-1, 1, 1, 1) + mean
    return (pixels * brightness.view(-1, 1, 1, 1)).round_().clamp_(0, 255).to(torch.uint8)


def _cut_out(
    images: UInt8[Tensor, "B C H W"], place: Float[Tensor, "B 2"], side: int
) -> UInt8[Tensor, "B C H W"]:
    height, width = images.shape[2:]
    inside = []
    for axis, size in ((0, height), (1, width)):
        first = (place[:, axis, None] * size).floor() - side // 2
        index = torch.arange(size, device=images.device)
        inside.append((index >= first) & (index < first + side))
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    mean = images.float().mean(dim=(2, 3), keepdim=True).round().to(torch.uint8)
    return torch.where(square, mean, images)
