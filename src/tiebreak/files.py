"""Files that appear whole or not at all, whatever happens in between; plain files; and where caches lie."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO

import platformdirs

from tiebreak.errors import StudyError

LARGEST_FILE = 16 * 2**30  # bytes that are read at once


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


def read_plain_file(folder: Path, name: PurePath | str, largest: int = LARGEST_FILE) -> bytes | None:
    """A file of a folder that may be a stranger's, whole; None if there is none of that name.

    It is opened once and without following links, so that nothing outside the folder is read, and a pipe
    or device is not waited for.

    Raises: StudyError if it is a link or lies behind one, is no plain file, is larger than `largest` bytes,
    or cannot be read.
    """
    path = folder / name
    refuse_links(folder, name)
    try:
        # Windows has neither flag; it has no pipes among its files either.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with open(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise StudyError(f"{path} is no plain file. Remove it.")
            if status.st_size > largest:
                raise StudyError(
                    f"{path} is damaged: it has {status.st_size:,} bytes, at most {largest:,} fit."
                )
            return file.read(largest)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        raise StudyError(f"{path} is no plain file. Remove it.") from None
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror or error}.") from None


def refuse_links(folder: Path, name: PurePath | str) -> None:
    """Whether `name` can be read and written without leaving the folder.

    Raises: StudyError if it or a folder on the way to it is a link.
    """
    place = folder
    for part in PurePath(name).parts:
        place = place / part
        if part == ".." or place.is_symlink():
            raise StudyError(f"{place} leads out of the study folder; replace the link by what it points to.")


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
