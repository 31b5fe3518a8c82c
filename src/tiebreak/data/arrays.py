"""A data set from one .npz file: x_train, y_train, x_test, y_test, and perhaps x_val, y_val and class_names.

Images are of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels. Of four axes the last is
the channel if it has 1 or 3 entries, else the second; where both could be, the last is taken. Pixels are 0
to 255, 0 to 1 or 16 bits, and labels whole numbers, texts or one-hot rows. What had to be decided is a note.

Shape letters: N images, C channels, H height, W width, K classes.
"""

import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiebreak.data.cache import Source, files_identity
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.data.memory import INFLATION, check_fits_memory
from tiebreak.errors import DataError, did_you_mean, list_some

PARTS = ("train", "val", "test")
REQUIRED = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("x_val", "y_val", "class_names")
# Other names that the arrays go by, written without _ and in small letters
IMAGE_WORDS, LABEL_WORDS = ("x", "images", "data"), ("y", "labels", "targets")
CHANNELS = (1, 3)
FULL_8_BITS, FULL_16_BITS = 255, 65_535
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

Array = NDArray[Any]


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
    arrays, notes = _read(path)
    parts = [part for part in PARTS if f"x_{part}" in arrays]
    images = {part: arrays[f"x_{part}"] for part in parts}
    for part in parts:
        _check_images(name, f"x_{part}", images[part])
        if images[part].shape[1:] != images["train"].shape[1:]:
            shapes = f"{images['train'].shape[1:]} and {images[part].shape[1:]}"
            raise DataError(f"{name}: images of x_train and x_{part} differ in shape: {shapes}.")
    axis = _channel_axis(name, images["train"].shape, notes)
    images = _as_bytes(name, images, notes)
    labels = {part: _labels(name, f"y_{part}", arrays[f"y_{part}"], notes) for part in parts}
    given = class_names or _given_class_names(name, arrays)
    numbers, class_names = _number_classes(name, labels, given, notes)
    whole = {part: _channels_first(images[part], axis) for part in parts}
    own_val = len(whole["val"]) if "val" in whole else 0
    train, train_labels = whole["train"], numbers["train"]
    if own_val:
        train, train_labels = torch.cat([train, whole["val"]]), torch.cat([train_labels, numbers["val"]])
    return make_dataset(
        name,
        train,
        train_labels,
        whole["test"],
        numbers["test"],
        class_names,
        notes=tuple(f"{name}: {note}" for note in dict.fromkeys(notes)),
        own_val=own_val,
    )


def _read(path: Path) -> tuple[dict[str, Array], list[str]]:
    """The arrays by our names, and notes; what is too large is refused before memory is taken."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            keys, notes = _match_keys(path.name, list(members))
            sizes = {key: _announced_size(path, archive, members[their]) for key, their in keys.items()}
            check_fits_memory(path.name, sum(sizes.values()), "Save fewer or smaller images.")
            arrays = {}
            for key, their in keys.items():
                with archive.open(members[their]) as file:
                    arrays[key] = np.lib.format.read_array(file, allow_pickle=False)
            return arrays, notes
    except BROKEN as error:
        if isinstance(error, PermissionError):
            raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
        raise DataError(
            f"{path.name}: expected a whole .npz file as numpy.savez writes it, found a damaged or other "
            "file. numpy.savez(FILE, x_train=x, y_train=y, x_test=u, y_test=v) makes one of arrays."
        ) from None


def _match_keys(name: str, there: list[str]) -> tuple[dict[str, str], list[str]]:
    """Our name of each array -> the file's, and what must be said of them."""
    keys, notes = {}, []
    for key in (*REQUIRED, *OPTIONAL):
        letter, _, part = key.partition("_")
        words = {"x": IMAGE_WORDS, "y": LABEL_WORDS}.get(letter, ())
        spellings = {spelling for word in words for spelling in (word + part, part + word)}
        matching = [key] if key in there else [each for each in there if _letters(each) in spellings]
        if len(matching) > 1:
            raise DataError(f"{name}: {list_some(matching)} could all be {key}. Leave one of them.")
        if matching:
            keys[key] = matching[0]
            if matching[0] != key:
                notes.append(f"{matching[0]!r} was taken as {key}")
        elif key in REQUIRED:
            others = [each for each in there if each not in REQUIRED] or REQUIRED
            raise DataError(f"{name}: {key} is missing. {did_you_mean(key, others)}")
    if ("x_val" in keys) != ("y_val" in keys):
        raise DataError(f"{name}: of x_val and y_val one is missing. Save both, or none.")
    return keys, notes


def _letters(key: str) -> str:
    return re.sub("[^a-z]", "", key.lower())


def _announced_size(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Bytes of one array; refused if its header, its size in the archive and what is packed disagree."""
    with archive.open(info) as file:
        shape, dtype = _read_header(file)
        header = file.tell()
    if dtype.hasobject:
        raise DataError(
            f"{path.name}: {info.filename!r} holds Python objects (a pickle), which is refused. "
            "Save it as numbers: numpy.savez(..., x=numpy.array(x, dtype=numpy.uint8)), or as texts: "
            "numpy.array(y, dtype=str)."
        )
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size != info.file_size - header or info.file_size > INFLATION * max(1, info.compress_size):
        raise ValueError("the header announces another size")
    return size


def _read_header(file: IO[bytes] | zipfile.ZipExtFile) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError("unknown version of the .npy format")
    shape, _, dtype = readers[version](file)
    if not all(type(length) is int and length >= 0 for length in shape):  # True is a length for NumPy
        raise ValueError("a shape of other things than lengths")
    return shape, dtype


def _check_images(name: str, key: str, images: Array) -> None:
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(
            f"{name}: {key} has shape {images.shape}, expected (N, H, W), (N, H, W, C) or (N, C, H, W), "
            "none of them 0. Flat rows become images by x.reshape(len(x), height, width)."
        )


def _as_bytes(name: str, images: dict[str, Array], notes: list[str]) -> dict[str, Array]:
    """Pixels as uint8, by one rule for all parts."""
    dtype = np.result_type(*images.values())
    if all(part.dtype == np.uint8 for part in images.values()):
        return images
    low = min(part.min() for part in images.values()) if dtype.kind in "biuf" else -1
    high = max(part.max() for part in images.values()) if dtype.kind in "biuf" else -1
    in_range = 0 <= low <= high  # also False for NaN
    if in_range and high <= 1 and dtype.kind in "bf":
        notes.append(
            f"pixels of type {dtype} from {low:g} to {high:g} were taken as 0 to 1, scaled to 0..255"
        )
        return {
            part: np.rint(each * np.float32(FULL_8_BITS)).astype(np.uint8) for part, each in images.items()
        }
    if in_range and high <= FULL_8_BITS and dtype.kind in "iuf":
        rounded = ", rounded" if dtype.kind == "f" else ""
        notes.append(f"pixels of type {dtype} from {low:g} to {high:g} were taken as 0 to 255{rounded}")
        return {part: np.rint(each).astype(np.uint8) for part, each in images.items()}
    if dtype == np.uint16:
        notes.append(
            f"16-bit pixels were scaled from 0..65,535 to 0..255 (the highest value found: {high:,})"
        )
        return {part: (each >> 8).astype(np.uint8) for part, each in images.items()}
    found = f" from {low:g} to {high:g}" if dtype.kind in "biuf" else ""
    raise DataError(
        f"{name}: the images have type {dtype}{found}, expected pixels from 0 to 255, from 0 to 1 or of 16 "
        "bits (uint16). Save them as they were before normalising, as x.astype('uint8')."
    )


def _channel_axis(name: str, shape: tuple[int, ...], notes: list[str]) -> int | None:
    """Which axis is the channel (None: there is none)."""
    if len(shape) == 3:
        return None
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if not first and not last:
        raise DataError(
            f"{name}: x_train has shape {shape}, expected 1 or 3 channels on its second or last axis."
        )
    if first and last:
        notes.append(f"shape {shape} could be read in two ways; its last axis was taken as the channel")
    return 3 if last else 1


def _channels_first(images: Array, axis: int | None) -> Tensor:
    ordered = images[:, None] if axis is None else np.moveaxis(images, axis, 1)
    return torch.from_numpy(np.ascontiguousarray(ordered))


def _labels(name: str, key: str, labels: Array, notes: list[str]) -> Array:
    """One label an image: whole numbers or texts."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "biuf":
        is_one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()
        if is_one_hot:
            notes.append(f"labels were read from one-hot rows of {labels.shape[1]} columns")
            return labels.argmax(axis=1)
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise DataError(
            f"{name}: {key} has type {labels.dtype} and shape {labels.shape}, expected one whole number "
            "or text an image, or one-hot rows. y.astype(int) or y.astype(str) changes the type."
        )
    if labels.dtype.kind in "iu" and len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < 2**31:
        raise DataError(f"{name}: {key} holds {labels.min()} to {labels.max()}, expected labels from 0 on.")
    return labels


def _number_classes(
    name: str, labels: dict[str, Array], given: tuple[str, ...] | None, notes: list[str]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Labels as numbers 0 to K - 1, numbered in their order if they are others, and the classes' names."""
    if len({each.dtype.kind == "U" for each in labels.values()}) > 1:
        raise DataError(f"{name}: some labels are texts and some numbers. Save all in one way.")
    whole = np.concatenate(list(labels.values()))
    found, places = np.unique(whole, return_inverse=True)
    numbers, names = np.arange(len(found)), tuple(map(str, found))
    if found.dtype.kind == "U":
        notes.append(f"the labels are texts; they were taken as {len(found)} classes")
        if given is not None:
            strange = [each for each in names if each not in given]
            if strange:
                raise DataError(f"{name}: {list_some(strange)} are labels but not among class_names.")
            numbers, names = np.array([given.index(each) for each in names]), given
    elif given is not None:
        from_one = found[0] > 0 and found[-1] == len(given)
        if from_one:
            notes.append(f"labels 1 to {len(given)} were taken as the {len(given)} classes named")
        numbers, names = found.astype(np.int64) - int(from_one), given
    elif found[-1] >= len(found):
        if 2 * len(found) > len(whole):
            raise DataError(
                f"{name}: {len(found)} different labels up to {found[-1]} on {len(whole)} images: no "
                "classes. Number the classes from 0 on."
            )
        notes.append(f"labels {found[0]} to {found[-1]} were taken as {len(found)} classes")
    ends = np.cumsum([len(each) for each in labels.values()])[:-1].tolist()
    split = torch.from_numpy(numbers[places].astype(np.int64)).tensor_split(ends)
    return dict(zip(labels, split, strict=True)), names


def _given_class_names(name: str, arrays: dict[str, Array]) -> tuple[str, ...] | None:
    names = arrays.get("class_names")
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind != "U" or not all(str(text).isprintable() for text in names):
        raise DataError(
            f"{name}: class_names must be a list of strings, got {names.dtype} of shape {names.shape}."
        )
    return tuple(str(text) for text in names)
