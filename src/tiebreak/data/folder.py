"""A folder of images: train/<class>/*.png and, if they are there, val/<class>/ and test/<class>/.

All grey images stay one channel; any coloured one makes the whole data set RGB. What is no picture is left
out and named. See `pictures` for how one picture is seen.

Shape letters: N images, C channels, H height, W width.
"""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import UInt8

from tiebreak.data.cache import Source
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.data.fetch import Progress
from tiebreak.data.heldout import check_test_fraction, hold_out
from tiebreak.data.listing import PARTS, SUFFIXES, Listing, list_images, part_folders, subfolders
from tiebreak.data.memory import check_fits_memory
from tiebreak.data.pictures import (
    BadPictureError,
    Decisions,
    Header,
    NoPictureError,
    read_header,
    read_picture,
)
from tiebreak.errors import DataError, did_you_mean, list_some

TEST_PART = 0.2  # of images that are not divided: which is no matter where both parts are taken
LARGEST_RESIZE = 4_096  # pixels
TRAINABLE = 64  # pixels to a side that are proposed where images are larger
AT_ONCE = 20  # images that a thread reads in one go

Images = UInt8[np.ndarray, "N C H W"]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that may be a picture."""

    part: str
    path: str  # from the data set's folder
    label: int


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What of a folder is not among the images."""

    litter: set[str]  # names
    unreadable: list[str]  # paths


def folder_source(
    path: Path,
    *,
    resize: int | None,
    skip_bad_images: bool,
    test_fraction: float,
    progress: Progress | None = None,
) -> Source:
    """The data set of an image folder; its identity is the listing, for which no image is read.

    Raises: DataError if the folder is not laid out as the module says, or an option is out of range.
    """
    check_test_fraction(test_fraction)
    if resize is not None and not 1 <= resize <= LARGEST_RESIZE:
        raise DataError(f"resize must be 1 to {LARGEST_RESIZE} pixels, got {resize}.")
    folders = subfolders(path)
    parts = {part: list_images(path, name) for part, name in part_folders(path, folders).items()}
    unused = [name for name in folders if name not in {listing.folder for listing in parts.values()}]
    for listing in parts.values():
        for name in listing.class_names:
            if name not in parts["train"].class_names:
                nearest = did_you_mean(name, parts["train"].class_names)
                raise DataError(
                    f"folder: {listing.folder}/{name} has no {parts['train'].folder}/{name}. {nearest}"
                )
    options = f"resize={resize} skip={skip_bad_images} test_fraction={test_fraction}"
    digests = " ".join(f"{part}={listing.digest}" for part, listing in parts.items())
    return Source(
        identity=f"folder {path.absolute()} {options} {digests} {unused}",
        build=lambda: _build(path, parts, unused, resize, skip_bad_images, test_fraction, progress),
    )


def read_classes(path: Path, resize: int | None = None) -> ImageDataset:
    """All images of PATH/test/<class>/, or of PATH/<class>/ where there is no test folder.

    They are those of both parts of the data set together.

    Raises: DataError if the folder is not laid out so, or an image cannot be read.
    """
    tests = [name for name in subfolders(path) if name.lower() in PARTS["test"]]
    path = (path / tests[0] if tests else path).absolute()
    listing = {"train": list_images(path.parent, path.name)}
    return _build(path.parent, listing, [], resize, False, TEST_PART, None)


def _build(
    root: Path,
    parts: dict[str, Listing],
    unused: Sequence[str],
    resize: int | None,
    skip_bad_images: bool,
    test_fraction: float,
    progress: Progress | None,
) -> ImageDataset:
    name = f"folder:{root.absolute().name}"
    class_names = parts["train"].class_names
    left_out = LeftOut(litter=set().union(*(listing.litter for listing in parts.values())), unreadable=[])
    files = _all_files(parts, {class_name: label for label, class_name in enumerate(class_names)})
    found = _in_threads(lambda file: read_header(root / file.path), files, "looking at", progress)
    files, headers = _usable(files, found, skip_bad_images, left_out)
    images, decided = _decode(name, root, files, headers, resize, progress)
    if any(isinstance(decision, BadPictureError) for decision in decided):
        images = images[[not isinstance(decision, BadPictureError) for decision in decided]]
    files, decisions = _usable(files, decided, skip_bad_images, left_out)
    notes = [*_notes_of_left_out(left_out, unused), *_notes_of_decisions(decisions)]
    return _assemble(name, class_names, files, images, test_fraction, [f"{name}: {note}" for note in notes])


def _all_files(parts: dict[str, Listing], labels: dict[str, int]) -> list[File]:
    return [
        File(part=part, path=f"{listing.folder}/{class_name}/{file}", label=labels[class_name])
        for part, listing in parts.items()
        for class_name, of_class in zip(listing.class_names, listing.files, strict=True)
        for file in of_class
    ]


def _in_threads(
    read: Callable[[Item], Result], items: Sequence[Item], doing: str, progress: Progress | None
) -> list[Result | BadPictureError]:
    """What each item gives. Opening and decoding release Python's lock for most of their time.

    A thread takes several items at once: of small pictures, handing over one takes as long as reading it.
    """

    def attempt(item: Item) -> Result | BadPictureError:
        try:
            return read(item)
        except BadPictureError as error:
            return error

    results: list[Result | BadPictureError] = []
    parts = [items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for part in pool.map(lambda part: [attempt(item) for item in part], parts):
            results += part
            if progress and len(results) % 100 == 0:
                progress(f"{doing} {len(items):,} images", len(results), len(items))
    return results


def _usable(
    files: Sequence[File],
    results: Sequence[Result | BadPictureError],
    skip_bad_images: bool,
    left_out: LeftOut,
) -> tuple[list[File], list[Result]]:
    """The files that could be read, and their results; others are refused, or put down as left out."""
    usable, read = [], []
    for file, result in zip(files, results, strict=True):
        if not isinstance(result, BadPictureError):
            usable.append(file)
            read.append(result)
        elif isinstance(result, NoPictureError) and Path(file.path).suffix.lower() not in SUFFIXES:
            left_out.litter.add(Path(file.path).name)
        elif skip_bad_images:
            left_out.unreadable.append(file.path)
        else:
            raise DataError(
                f"folder: {file.path!r} {result}. Mend or remove it, or skip such files with "
                "--skip-bad-images."
            )
    return usable, read


def _decode(
    name: str,
    root: Path,
    files: Sequence[File],
    headers: Sequence[Header],
    resize: int | None,
    progress: Progress | None,
) -> tuple[Images, list[Decisions | BadPictureError]]:
    """All images in one array, N x C x H x W, and what was decided about each; that of a bad one is unset."""
    size = (resize, resize) if resize else _common_size(files, headers)
    width, height = size
    grey = all(header.grey for header in headers)
    shape = (len(files), 1 if grey else 3, height, width)
    check_fits_memory(name, math.prod(shape), f"--resize {min(TRAINABLE, *size)} makes them smaller.")
    images = np.empty(shape, np.uint8)

    def fill(index: int) -> Decisions:
        pixels, decisions = read_picture(root / files[index].path, size if resize else None)
        if pixels.shape[:2] != (height, width):
            raise BadPictureError("has another size than its header says")
        images[index] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return decisions

    return images, _in_threads(fill, range(len(files)), "reading", progress)


def _common_size(files: Sequence[File], headers: Sequence[Header]) -> tuple[int, int]:
    """Width and height. Raises: DataError if the images differ in them."""
    sizes = [(header.width, header.height) for header in headers]
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            shown = [f"{width} x {height}" for width, height in (sizes[0], size)]
            proposed = min(TRAINABLE, *(min(each) for each in sizes))
            raise DataError(
                f"folder: images differ in size: {files[0].path!r} has {shown[0]} pixels, {file.path!r} "
                f"{shown[1]}. Bring them to one size with --resize, e.g. --resize {proposed}."
            )
    return sizes[0] if sizes else (1, 1)


def _notes_of_left_out(left_out: LeftOut, unused: Sequence[str]) -> list[str]:
    notes = [f"not used: {list_some(unused)}"] if unused else []
    if left_out.unreadable:
        count, first = len(left_out.unreadable), left_out.unreadable[0]
        images = "unreadable image was" if count == 1 else "unreadable images were"
        notes.append(f"{count:,} {images} skipped, the first: {first!r}")
    if left_out.litter:
        notes.append(f"left out, as they are no pictures: {list_some(sorted(left_out.litter))}")
    return notes


def _notes_of_decisions(decisions: Sequence[Decisions]) -> list[str]:
    count = len(decisions)
    turned = sum(decision.turned for decision in decisions)
    laid_over_white = sum(decision.laid_over_white for decision in decisions)
    brightest = [value for decision in decisions if (value := decision.brightest_of_16_bits) is not None]
    floats = sum(decision.was_floats for decision in decisions)
    notes = []
    if floats:
        notes.append(f"{floats:,} of {count:,} images are floats from 0 to 1, scaled to 0..255")
    if turned:
        notes.append(f"{turned:,} of {count:,} images were turned as their tags (EXIF) say")
    if laid_over_white:
        notes.append(f"{laid_over_white:,} of {count:,} images have transparent pixels, laid over white")
    if brightest:
        notes.append(
            f"16 bits a channel of {len(brightest):,} images were scaled from 0..65,535 to 0..255 "
            f"(the highest value found: {max(brightest):,})"
        )
    return notes


def _assemble(
    name: str,
    class_names: tuple[str, ...],
    files: Sequence[File],
    images: Images,
    test_fraction: float,
    notes: Sequence[str],
) -> ImageDataset:
    """The data set of the images that could be read; a test part is split off if there is none."""
    labels = torch.tensor([file.label for file in files], dtype=torch.int64)
    ends = np.cumsum([sum(file.part == part for file in files) for part in PARTS]).tolist()
    whole = torch.from_numpy(images)
    (train, val, test), (train_labels, val_labels, test_labels) = (
        torch.tensor_split(whole, ends[:2]),
        torch.tensor_split(labels, ends[:2]),
    )
    for class_name, count in zip(class_names, train_labels.bincount(minlength=len(class_names)), strict=True):
        if not count:
            raise DataError(
                f"{name}: no image of {class_name!r} can be trained on. Fill or remove the class."
            )
    if not len(test):
        train, train_labels, test, test_labels, note = hold_out(name, train, train_labels, test_fraction)
        notes = [*notes, note]
    if len(val):
        train, train_labels = torch.cat([train, val]), torch.cat([train_labels, val_labels])
    return make_dataset(
        name, train, train_labels, test, test_labels, class_names, notes=tuple(notes), own_val=len(val)
    )
