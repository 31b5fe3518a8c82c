"""A folder of images: train/<class>/*.png and, if there is one, test/<class>/*.png.

Images are taken as they are stored (no rotation by EXIF tags), of animations the first frame, and
transparency is dropped. All grey images stay one channel; any coloured one makes the whole data set RGB.

Shape letters: N images, C channels, H height, W width.
"""

import hashlib
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiebreak.data.cache import Source
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.data.heldout import check_test_fraction, hold_out
from tiebreak.errors import DataError, did_you_mean

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")  # Pillow's names; no others are opened
SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"]
)
LITTER = frozenset(["thumbs.db", "desktop.ini"])  # and hidden files
GREY = frozenset(["1", "L", "LA"])
COLOUR = frozenset(["P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
LARGEST_RESIZE = 4_096  # pixels
# What Pillow's decoders let out on damaged files.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    MemoryError,
    struct.error,
    zlib.error,
    Warning,
)

Pixels = NDArray[np.uint8]  # (H, W) if grey, else (H, W, 3)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of one part, class by class in the order of names."""

    class_names: tuple[str, ...]
    files: tuple[tuple[str, ...], ...]  # names, of each class
    digest: str  # of names, sizes and times of change


@dataclass(frozen=True, kw_only=True, eq=False)
class Usable:
    """The images of one part that could be read, with their labels and paths."""

    images: list[Pixels]
    labels: list[int]
    paths: list[str]


class _BadImage(Exception):  # noqa: N818 - it is a finding about a file, handled here
    """Why one file cannot be used."""


def folder_source(path: Path, *, resize: int | None, skip_bad_images: bool, test_fraction: float) -> Source:
    """The data set of an image folder; its identity is the listing, for which no image is read.

    Raises: DataError if the folder is not laid out as the module says, or an option is out of range.
    """
    check_test_fraction(test_fraction)
    if resize is not None and not 1 <= resize <= LARGEST_RESIZE:
        raise DataError(f"resize must be 1 to {LARGEST_RESIZE} pixels, got {resize}.")
    if not (path / "train").is_dir():
        raise DataError(
            f"folder: {path} has no folder train. It must hold train/<class>/*.png (or jpg, ...)."
        )
    parts = {part: list_images(path, part) for part in ("train", "test") if (path / part).is_dir()}
    if "test" in parts:
        _check_classes(parts["train"], parts["test"])
    options = f"resize={resize} skip={skip_bad_images} test_fraction={test_fraction}"
    digests = " ".join(listing.digest for listing in parts.values())
    return Source(
        identity=f"folder {path.absolute()} {options} {digests}",
        build=lambda: _build(path, parts, resize, skip_bad_images, test_fraction),
    )


def list_images(root: Path, part: str) -> Listing:
    """The files below root/part, which must lie in one folder a class.

    Raises: DataError for fewer than two classes, an empty class, or what is neither folder nor plain file.
    """
    digest = hashlib.sha256()
    names, classes = [], []
    try:
        folders = sorted(path.name for path in (root / part).iterdir())
        for name in folders:
            if _is_litter(name):
                continue
            if not (root / part / name).is_dir():
                raise DataError(
                    f"folder: {f'{part}/{name}'!r} is no folder; images belong in {part}/<class>/."
                )
            files, text = _files(root / part / name, f"{part}/{name}/")
            names.append(name)
            classes.append(files)
            digest.update(f"{name}\0{text}\0\0".encode(errors="surrogateescape"))
    except OSError as error:
        raise DataError(f"folder: {root / part} cannot be read ({error.strerror}).") from None
    if len(names) < 2:
        raise DataError(
            f"folder: {root / part} has {len(names)} class folders, a classifier needs at least 2."
        )
    bad = next((name for name in names if not name.isprintable()), None)
    if bad is not None:
        raise DataError(f"folder: the class name {bad!r} cannot be printed. Rename its folder.")
    return Listing(class_names=tuple(names), files=tuple(classes), digest=digest.hexdigest())


def _files(folder: Path, shown: str) -> tuple[tuple[str, ...], str]:
    """The names of a class's files, and a text of names, sizes and times of change.

    A plain loop over what is not tracked by the garbage collector, as there may be 100,000 of them.
    """
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not _is_litter(entry.name)), key=attrgetter("name"))
    if not entries:
        raise DataError(f"folder: {shown!r} holds no images. Fill or remove it.")
    lines = []
    for entry in entries:
        if not entry.is_file():  # a pipe or device would be waited for without end
            raise DataError(
                f"folder: {shown + entry.name!r} is no plain file; images belong directly in their class."
            )
        status = entry.stat()
        lines.append(f"{entry.name}\0{status.st_size} {status.st_mtime_ns}")
    return tuple(entry.name for entry in entries), "\0".join(lines)


def _is_litter(name: str) -> bool:
    return name[0] == "." or name.lower() in LITTER


def _check_classes(train: Listing, test: Listing) -> None:
    for name in test.class_names:
        if name not in train.class_names:
            raise DataError(
                f"folder: test/{name} has no train/{name}. {did_you_mean(name, train.class_names)}"
            )


def _build(
    root: Path, parts: dict[str, Listing], resize: int | None, skip_bad_images: bool, test_fraction: float
) -> ImageDataset:
    name = f"folder:{root.absolute().name}"
    train = parts["train"]
    read: dict[str, Usable] = {}
    skipped: list[str] = []
    for part, listing in parts.items():
        labelled = [
            (f"{part}/{class_name}/{file}", train.class_names.index(class_name))
            for class_name, files in zip(listing.class_names, listing.files, strict=True)
            for file in files
        ]
        images = _read_all(root, [path for path, _ in labelled], resize)
        read[part] = _sort_out(labelled, images, skip_bad_images, skipped)
    _check_sizes(read)
    notes = (
        [f"{name}: {len(skipped):,} unreadable images were skipped, the first: {skipped[0]}"]
        if skipped
        else []
    )
    grey = all(image.ndim == 2 for usable in read.values() for image in usable.images)
    tensors = {
        part: (_stack(usable.images, grey), torch.tensor(usable.labels, dtype=torch.int64))
        for part, usable in read.items()
    }
    if "test" in tensors:
        return make_dataset(
            name, *tensors["train"], *tensors["test"], class_names=train.class_names, notes=tuple(notes)
        )
    held_out = hold_out(name, *tensors["train"], test_fraction)
    return make_dataset(name, *held_out[:4], class_names=train.class_names, notes=(*notes, held_out.note))


def _read_all(root: Path, paths: list[str], resize: int | None) -> list[Pixels | _BadImage]:
    # Opening and decoding release Python's lock for most of their time.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(lambda path: _try_image(root / path, resize), paths))


def _try_image(path: Path, resize: int | None) -> Pixels | _BadImage:
    try:
        return read_image(path, resize)
    except _BadImage as error:
        return error


def read_image(path: Path, resize: int | None) -> Pixels:
    """The pixels of one image file, resized to a square if wanted (bilinear, antialiased).

    Raises: _BadImage if it is no image, damaged, beyond Pillow's limit, or has more than 8 bits a channel.
    """
    from PIL import Image, UnidentifiedImageError  # nothing but folders needs Pillow

    if path.suffix.lower() not in SUFFIXES:
        raise _BadImage("is not named like an image")
    try:
        with Image.open(path, formats=FORMATS) as image:
            if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise _BadImage(f"has {image.width} x {image.height} pixels, which is too large")
            if image.mode not in GREY | COLOUR:
                raise _BadImage(f"has Pillow's mode {image.mode}, expected 8 bits a channel")
            converted = image.convert("L" if image.mode in GREY else "RGB")
        if resize is not None:
            converted = converted.resize((resize, resize), Image.Resampling.BILINEAR)
        return np.asarray(converted)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _BadImage("announces more pixels than Pillow opens (a decompression bomb?)") from None
    except UnidentifiedImageError:
        raise _BadImage("is no image of a known format") from None
    except BROKEN as error:
        raise _BadImage(f"is damaged or cut short ({type(error).__name__})") from None


def _sort_out(
    labelled: list[tuple[str, int]],
    images: list[Pixels | _BadImage],
    skip_bad_images: bool,
    skipped: list[str],
) -> Usable:
    """What can be used; what cannot is refused, or its path added to `skipped`."""
    usable = Usable(images=[], labels=[], paths=[])
    for (path, label), image in zip(labelled, images, strict=True):
        if not isinstance(image, _BadImage):
            usable.images.append(image)
            usable.labels.append(label)
            usable.paths.append(path)
        elif skip_bad_images:
            skipped.append(repr(path))
        else:
            raise DataError(
                f"folder: {path!r} {image}. Mend or remove it, or skip such files with --skip-bad-images."
            )
    return usable


def _check_sizes(read: dict[str, Usable]) -> None:
    sized = [
        (path, image)
        for usable in read.values()
        for path, image in zip(usable.paths, usable.images, strict=True)
    ]
    for path, image in sized:
        first_path, first = sized[0]
        if image.shape[:2] != first.shape[:2]:
            raise DataError(
                f"folder: images differ in size: {first_path!r} has {_size(first)} pixels, {path!r} "
                f"{_size(image)}. Bring them to one size with --resize, e.g. --resize {min(first.shape[:2])}."
            )


def _size(image: Pixels) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"


def _stack(images: list[Pixels], grey: bool) -> Tensor:
    if not images:
        return torch.zeros((0, 1 if grey else 3, 1, 1), dtype=torch.uint8)
    if grey:
        return torch.from_numpy(np.stack(images)[:, None])
    stacked = np.empty((len(images), 3, *images[0].shape[:2]), np.uint8)
    for target, image in zip(stacked, images, strict=True):
        target[:] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    return torch.from_numpy(stacked)
