"""Random flips and shifts of training images, drawn an epoch at a time: runs can be paired and resumed.

Shape letters: N images of an epoch, B of a batch, C channels, H height, W width.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What is done to each training image each time it is shown."""

    flip: bool = False  # mirror left and right, half of the time
    crop: int = 0  # shift by up to this many pixels either way; what comes in from outside is black


@dataclass(frozen=True, kw_only=True, eq=False)
class AugmentDraws:
    """One epoch's random choices, one per image in the order of showing."""

    flipped: Bool[Tensor, " N"]
    down: Int64[Tensor, " N"]  # rows, -crop..crop
    right: Int64[Tensor, " N"]  # columns, -crop..crop
    crop: int

    def __getitem__(self, here: slice) -> "AugmentDraws":
        return AugmentDraws(
            flipped=self.flipped[here], down=self.down[here], right=self.right[here], crop=self.crop
        )

    def to(self, device: torch.device) -> "AugmentDraws":
        """The same choices, where the images are."""
        flipped, down, right = (each.to(device) for each in (self.flipped, self.down, self.right))
        return AugmentDraws(flipped=flipped, down=down, right=right, crop=self.crop)


def draw_augmentation(augment: Augment, count: int, generator: torch.Generator | None) -> AugmentDraws:
    """Draws for `count` images; all are drawn whatever is switched on, so that settings stay paired."""
    flipped = torch.rand(count, generator=generator) < 0.5
    down, right = torch.randint(-augment.crop, augment.crop + 1, (2, count), generator=generator)
    return AugmentDraws(flipped=flipped & augment.flip, down=down, right=right, crop=augment.crop)


def augment_batch(images: UInt8[Tensor, "B C H W"], draws: AugmentDraws) -> UInt8[Tensor, "B C H W"]:
    """The images mirrored and shifted as drawn."""
    images = torch.where(draws.flipped[:, None, None, None], images.flip(3), images)
    if draws.crop == 0:
        return images
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) + draws.crop - draws.down[:, None]
    columns = torch.arange(width, device=images.device) + draws.crop - draws.right[:, None]
    padded = F.pad(images, (draws.crop,) * 4)
    which = torch.arange(len(images), device=images.device)[:, None, None]
    # Indexing with the channel axis left alone puts it last.
    return padded[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
