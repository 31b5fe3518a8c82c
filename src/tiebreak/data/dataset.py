"""ImageDataset: everything a model learns from and is judged on, as plain arrays.

Shape letters: N images, C channels, H height, W width.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from tiebreak.data.augment import Augment
from tiebreak.data.batches import Batches
from tiebreak.data.facts import Facts
from tiebreak.data.findings import find_notes
from tiebreak.data.split import split_indices
from tiebreak.errors import DataError, list_some

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
MOST_CHANNELS = 4
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
        if not -len(self) <= position < len(self):
            raise IndexError(f"image {position} of {len(self)}")
        position %= len(self)
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
        change_generator: torch.Generator | None = None,
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
            change_generator=change_generator,
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
    own_val: int = 0  # the last so many training images are a validation part that came with the data
    folder: Path | None = None  # that the arrays were read from, as NAME.npy

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

    def val_size(self, wanted: int | None = None) -> int:
        """How many images are for validation: the data's own part, or what is wanted, or a tenth.

        Raises: DataError if another number is wanted than the data's own part has.
        """
        if self.own_val and wanted not in (None, self.own_val):
            raise DataError(
                f"{self.name} has a validation part of {self.own_val:,} images, but val_size is {wanted:,}. "
                "Leave it out, or move the images into the training part."
            )
        return self.own_val or wanted or max(1, len(self.train_labels) // 10)

    def split(self, val_size: int, seed: int, stratify: bool = True) -> Split:
        """The training part divided: as the data came, or else a seeded partition.

        See `split_indices` for the meaning of the arguments, and for errors.
        """
        if self.own_val:
            train, val = torch.arange(len(self.train_labels)).tensor_split([-self.own_val])
        else:
            train, val = split_indices(self.train_labels, val_size, seed, stratify)
        return Split(*(replace(self.train, indices=indices) for indices in (train, val)))


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
    own_val: int = 0,
) -> ImageDataset:
    """Check the arrays against each other and compute channel statistics, fingerprint and notes.

    `own_val`: the last so many training images are for validation, whatever the seed.

    Raises: DataError if an array is of another type or shape, a part is empty, counts differ, shapes differ
    between the parts, there are fewer than two classes or one name twice, or a label names no class.
    """
    class_names = tuple(class_names)
    parts = {"training": (train_images, train_labels), "test": (test_images, test_labels)}
    if len(class_names) < 2:
        raise DataError(f"{name}: a classifier needs at least 2 classes, got {len(class_names)}.")
    if len(set(class_names)) != len(class_names) or not all(isinstance(each, str) for each in class_names):
        raise DataError(f"{name}: class_names must be texts, each one once, got {list_some(class_names)}.")
    for part, (images, labels) in parts.items():
        _check_part(name, part, images, labels, len(class_names))
    if train_images.shape[1:] != test_images.shape[1:]:
        shapes = f"{tuple(train_images.shape[1:])} and {tuple(test_images.shape[1:])}"
        raise DataError(f"{name}: training and test images differ in shape (C, H, W): {shapes}.")
    if not 0 <= own_val < len(train_labels):
        raise DataError(f"{name}: {own_val} of {len(train_labels)} training images are for validation.")
    mean, std = channel_statistics(train_images)
    arrays: dict[str, Any] = dict(
        zip(ARRAYS, (train_images, train_labels, test_images, test_labels), strict=True)
    )
    return ImageDataset(
        **arrays,
        name=name,
        class_names=class_names,
        mean=mean,
        std=std,
        fingerprint=content_fingerprint(list(arrays.values()), class_names, own_val),
        verified=verified,
        notes=(*notes, *find_notes(name, class_names, *parts.values())),
        own_val=own_val,
    )


def _check_part(name: str, part: str, images: object, labels: object, classes: int) -> None:
    if not _is_tensor(images, torch.uint8, 4):
        raise DataError(
            f"{name}: the {part} images must be a uint8 tensor of shape (N, C, H, W), 0 to 255, got "
            f"{_kind(images)}. From NumPy: torch.from_numpy(x); from 0..1: (x * 255).round().to(torch.uint8)."
        )
    if not _is_tensor(labels, torch.int64, 1):
        raise DataError(
            f"{name}: the {part} labels must be an int64 tensor of shape (N,), got {_kind(labels)}. "
            "From NumPy: torch.from_numpy(y); from other whole numbers: y.long()."
        )
    assert isinstance(images, Tensor) and isinstance(labels, Tensor)
    if images.numel() == 0:
        raise DataError(f"{name}: the {part} part has no images.")
    if images.shape[3] <= MOST_CHANNELS < images.shape[1]:
        raise DataError(
            f"{name}: the {part} images have the shape {tuple(images.shape)}, expected (N, C, H, W) with the "
            "channels second. images.permute(0, 3, 1, 2) puts them there."
        )
    if len(images) != len(labels):
        raise DataError(f"{name}: the {part} part has {len(images)} images but {len(labels)} labels.")
    for wrong in (int(labels.min()), int(labels.max())):
        if not 0 <= wrong < classes:
            raise DataError(f"{name}: label {wrong} in the {part} part, but there are {classes} classes.")


def _is_tensor(value: object, dtype: torch.dtype, dimensions: int) -> bool:
    return isinstance(value, Tensor) and value.dtype == dtype and value.ndim == dimensions


def _kind(value: object) -> str:
    """What somebody gave in the place of a tensor."""
    kind = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{kind} of {value.dtype}, shape {tuple(value.shape)}"
    return kind


def facts_of(data: ImageDataset) -> Facts:
    """All of a data set but its arrays."""
    return Facts.model_validate(data, from_attributes=True)


def arrays_of(data: ImageDataset) -> dict[str, NDArray[Any]]:
    """The arrays of a data set by name; they share its memory."""
    return {name: getattr(data, name).contiguous().numpy() for name in ARRAYS}


def dataset_of(arrays: Mapping[str, NDArray[Any]], facts: Facts, folder: Path | None = None) -> ImageDataset:
    """The data set again, in the arrays' memory, which nobody writes to."""
    tensors: dict[str, Any] = {name: _as_tensor(array) for name, array in arrays.items()}
    return ImageDataset(**tensors, **dict(facts), folder=folder)


def _as_tensor(array: NDArray[Any]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)


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


def content_fingerprint(arrays: list[Tensor], class_names: tuple[str, ...], own_val: int = 0) -> str:
    """SHA-256 over shapes, class names, a validation part of its own, and every byte, in hexadecimal."""
    header: dict[str, object] = {
        "shapes": [list(array.shape) for array in arrays],
        "classes": list(class_names),
    }
    if own_val:
        header["own_val"] = own_val
    digest = hashlib.sha256(json.dumps(header).encode())
    for array in arrays:
        digest.update(array.contiguous().numpy().data)
    return digest.hexdigest()
