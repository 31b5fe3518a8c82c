"""ImageDataset: everything a model learns from and is judged on, as plain arrays.

Shape letters: N images, C channels, H height, W width.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from tiebreak.data.augment import Augment
from tiebreak.data.batches import Batches
from tiebreak.data.split import split_indices
from tiebreak.errors import DataError

CHUNK = 1_000  # images at a time where the whole would need eight times its memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Some images of a data set, named by index; it shares the memory of the whole.

    It is also a PyTorch data set of (normalised image, label), so that a plain `DataLoader` takes it.
    """

    images: UInt8[Tensor, "N C H W"]  # the whole that the indices point into; 0..255
    labels: Int64[Tensor, " N"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    indices: Int64[Tensor, " n"] | None = None  # None: all

    def __len__(self) -> int:
        return len(self.labels) if self.indices is None else len(self.indices)

    def __getitem__(self, position: int) -> tuple[Float[Tensor, "C H W"], int]:
        if not 0 <= position < len(self):
            raise IndexError(f"image {position} of {len(self)}")
        index = position if self.indices is None else int(self.indices[position])
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (self.images[index] / 255 - mean) / std, int(self.labels[index])

    @property
    def targets(self) -> Int64[Tensor, " n"]:
        """The labels of the images of this part, in its order."""
        return self.labels if self.indices is None else self.labels[self.indices]

    def batches(
        self,
        batch_size: int = 128,
        shuffle: bool = False,
        generator: torch.Generator | None = None,
        *,
        augment: Augment | None = None,
        augment_generator: torch.Generator | None = None,
    ) -> Batches:
        """Normalised float batches of this part; see `Batches`."""
        return Batches(
            images=self.images,
            labels=self.labels,
            mean=self.mean,
            std=self.std,
            indices=self.indices,
            batch_size=batch_size,
            shuffle=shuffle,
            generator=generator,
            augment=augment,
            augment_generator=augment_generator,
        )


class Split(NamedTuple):
    """The two parts that a training part was divided into."""

    train: Part
    val: Part


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageDataset:
    """A training and a test part. Pixels are bytes 0..255, not yet normalised.

    Build one with `make_dataset`, which checks the arrays and computes what follows from them.
    """

    name: str
    train_images: UInt8[Tensor, "N C H W"]
    train_labels: Int64[Tensor, " N"]
    test_images: UInt8[Tensor, "M C H W"]
    test_labels: Int64[Tensor, " M"]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]  # per channel, of the training part, pixels scaled to 0..1
    std: tuple[float, ...]
    fingerprint: str  # SHA-256 of the content, in hexadecimal
    verified: bool = True  # False: complete, but not the official files that the name promises
    notes: tuple[str, ...] = ()  # what every report about this data must mention

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width of one image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def train(self) -> Part:
        """The official training part, whole."""
        return Part(images=self.train_images, labels=self.train_labels, mean=self.mean, std=self.std)

    @property
    def test(self) -> Part:
        return Part(images=self.test_images, labels=self.test_labels, mean=self.mean, std=self.std)

    def split(self, val_size: int, seed: int, stratify: bool = True) -> Split:
        """A seeded partition of the training part; see `split_indices` for its meaning and errors."""
        train, val = split_indices(self.train_labels, val_size, seed, stratify)
        whole = (self.train_images, self.train_labels, self.mean, self.std)
        return Split(*(_part(*whole, indices) for indices in (train, val)))


def _part(
    images: Tensor, labels: Tensor, mean: tuple[float, ...], std: tuple[float, ...], indices: Tensor
) -> Part:
    return Part(images=images, labels=labels, mean=mean, std=std, indices=indices)


def make_dataset(
    name: str,
    train_images: UInt8[Tensor, "N C H W"],
    train_labels: Int64[Tensor, " N"],
    test_images: UInt8[Tensor, "M C H W"],
    test_labels: Int64[Tensor, " M"],
    class_names: tuple[str, ...],
    *,
    verified: bool = True,
    notes: tuple[str, ...] = (),
) -> ImageDataset:
    """Check the arrays against each other and compute channel statistics and fingerprint.

    Raises: DataError if a part is empty, counts differ, shapes differ between the parts, there are
    fewer than two classes, or a label names no class.
    """
    parts = {"training": (train_images, train_labels), "test": (test_images, test_labels)}
    for part, (images, labels) in parts.items():
        if len(images) == 0:
            raise DataError(f"{name}: the {part} part has no images.")
        if len(images) != len(labels):
            raise DataError(f"{name}: the {part} part has {len(images)} images but {len(labels)} labels.")
        if int(labels.min()) < 0 or int(labels.max()) >= len(class_names):
            wrong = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
            raise DataError(
                f"{name}: label {wrong} in the {part} part, but there are {len(class_names)} classes."
            )
    if len(class_names) < 2:
        raise DataError(f"{name}: a classifier needs at least 2 classes, got {len(class_names)}.")
    if train_images.shape[1:] != test_images.shape[1:]:
        shapes = f"{tuple(train_images.shape[1:])} and {tuple(test_images.shape[1:])}"
        raise DataError(f"{name}: training and test images differ in shape (C, H, W): {shapes}.")
    mean, std = channel_statistics(train_images)
    return ImageDataset(
        name=name,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=class_names,
        mean=mean,
        std=std,
        fingerprint=content_fingerprint([train_images, train_labels, test_images, test_labels], class_names),
        verified=verified,
        notes=notes,
    )


def channel_statistics(images: UInt8[Tensor, "N C H W"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (of the population) per channel, pixels scaled to 0..1.

    A constant channel gets standard deviation 1, so that normalising it divides by nothing.
    """
    channels = images.shape[1]
    total = torch.zeros(channels, dtype=torch.int64)
    squares = torch.zeros(channels, dtype=torch.int64)
    for chunk in torch.split(images, CHUNK):
        pixels = chunk.to(torch.int32)
        total += pixels.sum(dim=(0, 2, 3))
        squares += (pixels * pixels).sum(dim=(0, 2, 3))
    count = images.numel() // channels
    mean = total.double() / count
    variance = (squares.double() / count - mean**2).clamp(min=0)
    std = torch.where(variance > 0, variance.sqrt() / 255, torch.ones_like(variance))
    return tuple((mean / 255).tolist()), tuple(std.tolist())


def content_fingerprint(arrays: list[Tensor], class_names: tuple[str, ...]) -> str:
    """SHA-256 over shapes, class names and every byte, in hexadecimal."""
    header = {"shapes": [list(array.shape) for array in arrays], "classes": list(class_names)}
    digest = hashlib.sha256(json.dumps(header).encode())
    for array in arrays:
        digest.update(array.contiguous().numpy().data)
    return digest.hexdigest()
