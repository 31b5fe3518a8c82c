"""Prepared data sets on disk, so that a second start maps arrays into memory instead of reading files again.

An entry is a folder of four .npy files and meta.json. It is written beside its place and renamed
into it, so it is there whole or not at all; a damaged one is made again. Each pixel is checked when it
is loaded (CRC-32, which finds damage; it is no guard against a forger).
"""

import hashlib
import logging
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from tiebreak.data.dataset import ARRAYS, ImageDataset, arrays_of, dataset_of, facts_of
from tiebreak.data.facts import Facts
from tiebreak.files import cache_root, sync_file, sync_folder

FORMAT = 2  # of an entry, and of what is read into it; a change leaves old entries unused
UNFINISHED = "unfinished-"  # start of the name of an entry that is being written
UNFINISHED_KEPT = 24 * 3600.0  # seconds until what a killed process left is removed

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set that can be built, and a name of its content that costs little to make."""

    identity: str  # changes whenever the content may have: paths, sizes, times of change, options
    build: Callable[[], ImageDataset]


class Meta(BaseModel):
    """What stands beside the arrays of an entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    identity: str
    facts: Facts
    checksums: dict[str, int]  # CRC-32 of each array's bytes


def files_identity(paths: Iterable[Path]) -> str:
    """A digest of files' names and of what changes with their content, without reading them.

    Raises: OSError if one is missing.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.absolute()}\0{file_state(path.stat())}\n".encode(errors="replace"))
    return digest.hexdigest()


def file_state(status: os.stat_result) -> str:
    """What tells that a path holds the same file, unchanged.

    The number of the file and the time when it was last touched count too: size and time of change stay the
    same when files are renamed, or copied with their times.
    """
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def load_prepared(source: Source) -> ImageDataset:
    """The data set of a source: from its cache entry if that is there and whole, else built and kept.

    Where the cache cannot be written, the data set stays in memory and a warning is logged.

    Raises: DataError from the source's own `build`.
    """
    folder = cache_root() / "prepared" / hashlib.sha256(source.identity.encode()).hexdigest()[:32]
    prepared = _load(folder, source.identity)
    if prepared is not None:
        return prepared
    data = source.build()
    try:
        _save(folder, source.identity, data)
    except OSError as error:
        log.warning(
            "The prepared data could not be kept in %s (%s); it stays in memory, and the next start "
            "prepares it again. Set TIEBREAK_CACHE to a folder that can be written.",
            folder.parent,
            error.strerror or type(error).__name__,
        )
        return data
    return _load(folder, source.identity) or data


def _load(folder: Path, identity: str) -> ImageDataset | None:
    """The entry in `folder`, or None if it is missing, damaged (which is logged) or of another content."""
    try:
        meta = Meta.model_validate_json((folder / "meta.json").read_bytes())
        if (meta.format, meta.identity) != (FORMAT, identity):
            return None
        arrays = {name: _load_array(folder, name, meta.checksums[name]) for name in ARRAYS}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, ValidationError) as error:
        log.warning("The cache entry %s is damaged (%s); it is made again.", folder, type(error).__name__)
        return None
    return dataset_of(arrays, meta.facts, folder)


def map_array(folder: Path, name: str) -> NDArray[Any]:
    """An array of an entry, mapped from its file. Raises: OSError or ValueError if it cannot be read."""
    # Copy-on-write: PyTorch wants memory that can be written, and the file must stay as it is.
    return np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)


def _load_array(folder: Path, name: str, checksum: int) -> NDArray[Any]:
    array = map_array(folder, name)
    dtype, dimensions = (np.uint8, 4) if name.endswith("images") else (np.int64, 1)
    if array.dtype != dtype or array.ndim != dimensions or zlib.crc32(array.data) != checksum:
        raise ValueError(f"{name} is not what was written")
    return array


def _save(folder: Path, identity: str, data: ImageDataset) -> None:
    """Write an entry so that it appears whole or not at all. Raises: OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(folder.parent)
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    try:
        checksums = {}
        for name, array in arrays_of(data).items():
            checksums[name] = zlib.crc32(array.data)
            with (unfinished / f"{name}.npy").open("wb") as file:
                np.save(file, array, allow_pickle=False)
                sync_file(file)
        meta = Meta(format=FORMAT, identity=identity, facts=facts_of(data), checksums=checksums)
        with (unfinished / "meta.json").open("wb") as file:
            file.write(meta.model_dump_json(indent=1).encode())
            sync_file(file)
        _put_in_place(unfinished, folder, identity)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _put_in_place(unfinished: Path, folder: Path, identity: str) -> None:
    if folder.exists() and _load(folder, identity) is not None:
        return  # another process was faster
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    sync_folder(folder.parent)


def _remove_unfinished(parent: Path) -> None:
    for left in parent.glob(f"{UNFINISHED}*"):
        if time.time() - left.stat().st_mtime > UNFINISHED_KEPT:
            shutil.rmtree(left, ignore_errors=True)
