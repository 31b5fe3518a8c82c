"""Batches: shuffled, augmented, normalised float batches straight from memory.

There is no per-image Python and no worker process: a batch is gathered as bytes, then normalised, cast
and laid out as a whole, where it is needed.

Shape letters: N images of the whole part, n of them used here, B images of a batch, C channels,
H height, W width, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

from tiebreak.data.augment import Augment, augment_batch, draw_augmentation
from tiebreak.data.mix import Mix, draw_mix, mix_batch
from tiebreak.errors import DataError

# Labels are class numbers, or with mixed images shares of the classes.
Batch = tuple[Float[Tensor, "B C H W"], Int64[Tensor, " B"] | Float[Tensor, "B K"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """An iterable of (images, labels); each `iter` is one epoch and visits every image once.

    Raises: DataError if the batch size is not positive, or if something random lacks its generator.
    """

    images: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, " N"]
    mean: tuple[float, ...]  # per channel, of pixels scaled to 0..1
    std: tuple[float, ...]
    indices: Int64[Tensor, " n"] | None = None  # which images, in order; None: all
    batch_size: int = 128
    shuffle: bool = False
    generator: torch.Generator | None = None  # draws the order; its state moves on with every epoch
    augment: Augment | None = None
    augment_generator: torch.Generator | None = None
    change_generator: torch.Generator | None = None  # of augmentation that gives pixels other values
    first_flips: Bool[Tensor, " N"] | None = (
        None  # which images are mirrored in odd epochs; the others in even
    )
    small: tuple[int, int] | None = None  # height and width that the images of the first epochs are scaled to
    small_epochs: int = 0
    mix: Mix | None = None
    mix_generator: torch.Generator | None = None
    classes: int = 0  # how many there are; needed to mix labels
    dtype: torch.dtype = torch.float32  # of the batches; normalised in float32, then rounded to it
    channels_last: bool = False  # memory layout of the batches; their shape is the same
    device: str = "cpu"  # where the batches are

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise DataError(f"batch_size must be at least 1, got {self.batch_size}.")
        if self.shuffle and self.generator is None:
            raise DataError("shuffle=True needs a generator, e.g. torch.Generator().manual_seed(0).")
        if self.augment and self.augment_generator is None:
            raise DataError("augment needs an augment_generator, e.g. torch.Generator().manual_seed(0).")
        if self.augment and self.augment.changes and self.change_generator is None:
            raise DataError("cutout, brightness and contrast need a change_generator.")
        if self.mix and (self.mix_generator is None or not self.classes):
            raise DataError("mix needs a mix_generator and the number of classes.")

    @property
    def num_images(self) -> int:
        return len(self.labels) if self.indices is None else len(self.indices)

    def __len__(self) -> int:
        """The number of batches in an epoch; the last one may be smaller."""
        return -(-self.num_images // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch()

    def epoch(self, first_batch: int = 0, number: int = 1) -> Iterator[Batch]:
        """One epoch, from `first_batch` on; its `number` counts from 1.

        Everything random is drawn at the start, so a generator whose state was put back gives the
        same epoch again, wherever in it one begins.
        """
        order = torch.arange(len(self.labels)) if self.indices is None else self.indices
        if self.shuffle:
            order = order[torch.randperm(len(order), generator=self.generator)]
        draws = None
        if self.augment:
            drawn = draw_augmentation(self.augment, len(order), self.augment_generator, self.change_generator)
            if self.first_flips is not None:
                drawn = replace(drawn, flipped=self.first_flips[order] ^ (number % 2 == 0))
            draws = drawn.to(self.images.device)
        mixing = (
            draw_mix(self.mix, len(self), self.mix_generator) if self.mix and self.mix_generator else None
        )
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        scale, shift = (1 / (255 * std)).to(self.device), (-mean / std).to(self.device)
        labels = self.labels[order.to(self.labels.device)].to(self.device)
        order = order.to(self.images.device)
        size = self.small if number <= self.small_epochs else None
        for batch_number in range(first_batch, len(self)):
            here = slice(batch_number * self.batch_size, (batch_number + 1) * self.batch_size)
            images = self.images.index_select(0, order[here])
            images = augment_batch(self.augment, images, draws[here]) if self.augment and draws else images
            batch = self._normalised(images.to(self.device), scale, shift, size)
            if mixing is None:
                yield batch, labels[here]
            else:
                yield mix_batch(batch, labels[here], self.classes, mixing, batch_number)

    def _normalised(
        self,
        images: UInt8[Tensor, "B C H W"],
        scale: Float[Tensor, "C 1 1"],
        shift: Float[Tensor, "C 1 1"],
        size: tuple[int, int] | None,
    ) -> Float[Tensor, "B C _ _"]:
        batch = images.to(torch.float32).mul_(scale).add_(shift)
        if size is not None:
            batch = F.interpolate(batch, size, mode="bilinear", antialias=True)
        batch = batch.to(self.dtype)
        if not self.channels_last:
            return batch
        # Last, and into memory of that layout: of a number format with half the bytes it takes half the time.
        return torch.empty_like(batch, memory_format=torch.channels_last).copy_(batch)
