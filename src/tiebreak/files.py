"""Files that appear whole or not at all, whatever happens in between; and where caches lie."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import platformdirs


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes its place at `path` when the block ends without an error.

    It is written beside its place under a temporary name, forced to disk, renamed, and its folder
    forced to disk too; until then `path` holds what it held before.

    Raises: OSError as the file system does (full, read-only, gone); nothing is left behind then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            sync_file(file)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)  # a write that fails does not say of which file
        raise
    sync_folder(path.parent)


def cache_root() -> Path:
    """Where tiebreak keeps what it can make again: TIEBREAK_CACHE, or the system's place for caches."""
    return Path(os.environ.get("TIEBREAK_CACHE") or platformdirs.user_cache_dir("tiebreak"))


def sync_file(file: IO[bytes]) -> None:
    """Wait until what was written to a file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Force a folder's list of names to disk, where the system can (Windows cannot open folders)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_there(path: Path) -> bool:
    """Whether there is such a file; a path that no file can have is the path of none."""
    try:
        return path.is_file()
    except OSError:
        return False
