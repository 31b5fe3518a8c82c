"""Prepared data sets on disk, so that a second start maps arrays into memory instead of reading files again.

An entry is a folder of four .npy files and meta.json. It is written beside its place and renamed
into it, so it is there whole or not at all; a damaged one is made again. Each pixel is checked when it
is loaded (CRC-32, which finds damage; it is no guard against a forger).
"""

import hashlib
import logging
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from tiebreak.data.dataset import ImageDataset
from tiebreak.files import cache_root, sync_file, sync_folder

FORMAT = 1  # of an entry; a change of it leaves old entries unused
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
UNFINISHED = "unfinished-"  # start of the name of an entry that is being written
UNFINISHED_KEPT = 24 * 3600.0  # seconds until what a killed process left is removed

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set that can be built, and a name of its content that costs little to make."""

    identity: str  # changes whenever the content may have: paths, sizes, times of change, options
    build: Callable[[], ImageDataset]


class Meta(BaseModel):
    """All of an `ImageDataset` but its arrays, and the arrays' checksums."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    identity: str
    name: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    verified: bool
    notes: tuple[str, ...]
    checksums: dict[str, int]  # CRC-32 of each array's bytes


def files_identity(paths: Iterable[Path]) -> str:
    """A digest of the names, sizes and times of change of files, without reading them.

    Raises: OSError if one is missing.
    """
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace"))
    return digest.hexdigest()


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
    return ImageDataset(
        **arrays,
        name=meta.name,
        class_names=meta.class_names,
        mean=meta.mean,
        std=meta.std,
        fingerprint=meta.fingerprint,
        verified=meta.verified,
        notes=meta.notes,
    )


def _load_array(folder: Path, name: str, checksum: int) -> Tensor:
    # Copy-on-write: PyTorch wants memory that can be written, and the file must stay as it is.
    array = np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
    dtype, dimensions = (np.uint8, 4) if name.endswith("images") else (np.int64, 1)
    if array.dtype != dtype or array.ndim != dimensions or zlib.crc32(array) != checksum:
        raise ValueError(f"{name} is not what was written")
    return torch.from_numpy(array)


def _save(folder: Path, identity: str, data: ImageDataset) -> None:
    """Write an entry so that it appears whole or not at all. Raises: OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(folder.parent)
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    try:
        checksums = {}
        for name in ARRAYS:
            array = getattr(data, name).contiguous().numpy()
            checksums[name] = zlib.crc32(array)
            with (unfinished / f"{name}.npy").open("wb") as file:
                np.save(file, array, allow_pickle=False)
                sync_file(file)
        with (unfinished / "meta.json").open("wb") as file:
            file.write(_meta(identity, data, checksums).model_dump_json(indent=1).encode())
            sync_file(file)
        _put_in_place(unfinished, folder, identity)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _meta(identity: str, data: ImageDataset, checksums: dict[str, int]) -> Meta:
    return Meta(
        format=FORMAT,
        identity=identity,
        name=data.name,
        class_names=data.class_names,
        mean=data.mean,
        std=data.std,
        fingerprint=data.fingerprint,
        verified=data.verified,
        notes=data.notes,
        checksums=checksums,
    )


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
