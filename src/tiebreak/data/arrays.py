"""A data set from one .npz file: x_train, y_train, x_test, y_test and, if wanted, class_names.

Images are uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels. Of four axes
the last is the channel if it has 1 or 3 entries, else the second; where both could be, the last is
taken and a note says so.

Shape letters: N images, C channels, H height, W width.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiebreak.data.cache import Source, files_identity
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.errors import DataError, did_you_mean

REQUIRED = ("x_train", "y_train", "x_test", "y_test")
CLASS_NAMES = "class_names"
CHANNELS = (1, 3)
LARGEST = 2**40  # bytes that one array may announce
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
)


def arrays_source(path: Path) -> Source:
    """The data set of an .npz file. Raises: DataError if there is no such file."""
    if not path.is_file():
        raise DataError(f"arrays: there is no file {path}. Give it as arrays:FILE.npz.")
    return Source(identity=f"arrays {files_identity([path])}", build=lambda: read_arrays(path))


def read_arrays(
    path: Path, name: str | None = None, class_names: tuple[str, ...] | None = None
) -> ImageDataset:
    """Read an .npz file; `name` and `class_names` stand in for its own.

    Raises: DataError if it is damaged, lacks an array, or an array is not what the module's docstring says.
    """
    name = name or f"arrays:{path.name}"
    arrays = _read(path)
    for key in ("x_train", "x_test"):
        _check_images(name, key, arrays[key])
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        shapes = f"{arrays['x_train'].shape[1:]} and {arrays['x_test'].shape[1:]}"
        raise DataError(f"{name}: images of x_train and x_test differ in shape: {shapes}.")
    axis, notes = _channel_axis(name, arrays["x_train"].shape)
    train_labels, test_labels = (_labels(name, key, arrays[key]) for key in ("y_train", "y_test"))
    if class_names is None:
        class_names = _class_names(name, arrays, train_labels, test_labels)
    return make_dataset(
        name,
        _channels_first(arrays["x_train"], axis),
        train_labels,
        _channels_first(arrays["x_test"], axis),
        test_labels,
        class_names=class_names,
        notes=notes,
    )


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with zipfile.ZipFile(path) as archive:
            there = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            for key in REQUIRED:
                if key not in there:
                    raise DataError(f"{path.name}: {key} is missing. {did_you_mean(key, there or REQUIRED)}")
            return {
                key: _read_array(path, archive, there[key])
                for key in (*REQUIRED, CLASS_NAMES)
                if key in there
            }
    except BROKEN as error:
        if isinstance(error, PermissionError):
            raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
        raise DataError(
            f"{path.name}: expected a whole .npz file as numpy.savez writes it, found a damaged "
            "or other file."
        ) from None


def _read_array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[np.generic]:
    """One array, refused before its memory is taken if its header and its size in the archive disagree."""
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError("unknown version of the .npy format")
        reader = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = reader(file)
        if dtype.hasobject:
            raise DataError(
                f"{path.name}: {info.filename} holds Python objects (a pickle), which is refused. "
                "Save it as numbers: numpy.savez(..., x=numpy.array(x, dtype=numpy.uint8))."
            )
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if size > LARGEST or size != info.file_size - file.tell():
            raise ValueError("the header announces another size")
        content = file.read()
    if len(content) != size:
        raise EOFError
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _check_images(name: str, key: str, images: NDArray[np.generic]) -> None:
    if images.dtype != np.uint8:
        raise DataError(
            f"{name}: {key} has type {images.dtype}, expected uint8 pixels from 0 to 255. "
            f"If they lie between 0 and 1, save (x * 255).round().astype('uint8')."
        )
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(
            f"{name}: {key} has shape {images.shape}, expected (N, H, W), (N, H, W, C) or (N, C, H, W), "
            "none of them 0."
        )


def _channel_axis(name: str, shape: tuple[int, ...]) -> tuple[int | None, tuple[str, ...]]:
    """Which axis is the channel (None: there is none), and what a report must say about it."""
    if len(shape) == 3:
        return None, ()
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if not first and not last:
        raise DataError(
            f"{name}: x_train has shape {shape}, expected 1 or 3 channels on its second or last axis."
        )
    if first and last:
        return 3, (
            f"{name}: shape {shape} could be read in two ways; its last axis was taken as the channel",
        )
    return (3, ()) if last else (1, ())


def _channels_first(images: NDArray[np.generic], axis: int | None) -> Tensor:
    ordered = images[:, None] if axis is None else np.moveaxis(images, axis, 1)
    return torch.tensor(np.ascontiguousarray(ordered))


def _labels(name: str, key: str, labels: NDArray[np.generic]) -> Tensor:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{name}: {key} has type {labels.dtype} and shape {labels.shape}, expected one integer an image. "
            "One-hot rows become labels by y.argmax(1)."
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < 2**31:
        raise DataError(f"{name}: {key} holds {labels.min()} to {labels.max()}, expected labels from 0 on.")
    return torch.tensor(labels.astype(np.int64))


def _class_names(
    name: str, arrays: dict[str, NDArray[np.generic]], train_labels: Tensor, test_labels: Tensor
) -> tuple[str, ...]:
    highest = max((int(labels.max()) for labels in (train_labels, test_labels) if len(labels)), default=0)
    if CLASS_NAMES not in arrays:
        if highest >= len(train_labels) + len(test_labels):
            raise DataError(
                f"{name}: label {highest} is higher than there are images. Number the classes from 0 on."
            )
        return tuple(str(label) for label in range(highest + 1))
    names = arrays[CLASS_NAMES]
    if names.ndim != 1 or names.dtype.kind != "U" or not all(str(text).isprintable() for text in names):
        raise DataError(
            f"{name}: {CLASS_NAMES} must be a list of strings, got {names.dtype} of shape {names.shape}."
        )
    if len(set(names.tolist())) != len(names):
        raise DataError(f"{name}: {CLASS_NAMES} names a class twice.")
    return tuple(str(text) for text in names)
