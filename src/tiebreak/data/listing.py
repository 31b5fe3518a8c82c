"""What lies in an image folder: its parts, their classes, the files of each class. No image is opened."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from tiebreak.data.cache import file_state
from tiebreak.errors import DataError

# A part of the data -> the names that its folder may have, in any case
PARTS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


# What file managers, archives and storage systems leave behind, beside hidden files
LITTER = frozenset(["thumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle", "$recycle.bin"])


# Who has such a name and is no picture is damaged; who has another is not meant as one.
SUFFIXES = frozenset(
    [".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".bmp", ".webp", ".gif", ".tif"]
) | frozenset([".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif", ".dng", ".raw", ".svg"])


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of one part, class by class in the order of names."""

    folder: str
    class_names: tuple[str, ...]
    files: tuple[tuple[str, ...], ...]  # names, of each class
    litter: frozenset[str]  # names
    digest: str  # of the names and of what changes with the files


def subfolders(root: Path) -> list[str]:
    if not root.is_dir():
        raise DataError(f"folder: there is no folder {root}. Give one that holds train/<class>/*.png.")
    try:
        names = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    except OSError as error:
        raise DataError(f"folder: {root} cannot be read ({error.strerror}).") from None
    return [name for name in names if not _is_litter(name)]


def part_folders(root: Path, names: Sequence[str]) -> dict[str, str]:
    """The folder's name of each part that is there."""
    found = {}
    for part, known in PARTS.items():
        matching = [name for name in names if name.lower() in known]
        if len(matching) > 1:
            raise DataError(f"folder: {root} holds {' and '.join(matching)}: one of them must go.")
        if matching:
            found[part] = matching[0]
    if "train" not in found:
        raise DataError(
            f"folder: {root} has no folder train. It must hold train/<class>/*.png (or jpg, ...): put the "
            "class folders into one named train; without a folder test, a test part is split off."
        )
    return found


def list_images(root: Path, part: str) -> Listing:
    """The files below root/part, which must lie in one folder a class.

    Raises: DataError for fewer than two classes, an empty class, or what is neither folder nor plain file.
    """
    digest = hashlib.sha256()
    names, classes, litter = [], [], set()
    try:
        for folder in sorted((root / part).iterdir()):
            shown = f"{part}/{folder.name}"
            if _is_litter(folder.name) or (folder.is_file() and folder.suffix.lower() not in SUFFIXES):
                litter.add(folder.name)
                continue
            if not folder.is_dir():
                raise DataError(f"folder: {shown!r} is no folder; images belong in {part}/<class>/.")
            files, states = _files(folder, f"{shown}/", litter)
            names.append(folder.name)
            classes.append(files)
            text = f"{folder.name}\0{states}\0\0"
            digest.update(text.encode(errors="surrogateescape"))
    except OSError as error:
        raise DataError(f"folder: {root / part} cannot be read ({error.strerror}).") from None
    if len(names) < 2:
        raise DataError(
            f"folder: {root / part} has {len(names)} class folders, a classifier needs at least 2."
        )
    bad = next((name for name in names if not name.isprintable()), None)
    if bad is not None:
        raise DataError(f"folder: the class name {bad!r} cannot be printed. Rename its folder.")
    return Listing(
        folder=part,
        class_names=tuple(names),
        files=tuple(classes),
        litter=frozenset(litter),
        digest=digest.hexdigest(),
    )


def _files(folder: Path, shown: str, litter: set[str]) -> tuple[tuple[str, ...], str]:
    """The names of a class's files, and a text of names and states.

    A plain loop over what is not tracked by the garbage collector, as there may be 100,000 of them.
    """
    with os.scandir(folder) as found:
        entries = sorted(found, key=attrgetter("name"))
    names, lines = [], []
    for entry in entries:
        if _is_litter(entry.name):
            litter.add(entry.name)
            continue
        if not entry.is_file():  # a pipe or device would be waited for without end
            raise DataError(
                f"folder: {shown + entry.name!r} is no plain file; images belong directly in their class."
            )
        names.append(entry.name)
        lines.append(f"{entry.name}\0{file_state(entry.stat())}")
    if not names:
        raise DataError(f"folder: {shown!r} holds no images. Fill or remove it.")
    return tuple(names), "\0".join(lines)


def _is_litter(name: str) -> bool:
    return name[0] == "." or name.lower() in LITTER
