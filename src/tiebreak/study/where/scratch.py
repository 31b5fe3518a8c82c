"""A folder for files that last as long as a study computes, and not longer, however it ends."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from filelock import FileLock, Timeout

from tiebreak.errors import TiebreakError

PREFIX, UNFINISHED = "tiebreak-", ".tiebreak-"
LOCK = ".lock"  # the kernel's lock on it lives as long as the process


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder among the system's temporary files (TMPDIR) for the time of the block.

    Those of processes that were killed, and could not remove theirs, are removed first.

    Raises: TiebreakError if none can be made.
    """
    place = Path(tempfile.gettempdir())
    _remove_left(place)
    try:
        made = Path(tempfile.mkdtemp(prefix=UNFINISHED))
        # Locked before it has a name under which others look for what may go. A generator may be closed by
        # another thread.
        lock = FileLock(made / LOCK, timeout=0, thread_local=False)
        lock.acquire()
        folder = made.rename(place / made.name.replace(UNFINISHED, PREFIX, 1))
    except OSError as error:
        raise no_room(place, error) from error
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)
        lock.release()


def no_room(path: Path, error: OSError) -> TiebreakError:
    """What to tell if a temporary file cannot be written."""
    reason = error.strerror or "there is no room for all of it"
    return TiebreakError(
        f"{path} cannot be written: {reason}. Free some room there, or set TMPDIR to a folder with more; "
        "--executor serial needs none."
    )


def _remove_left(place: Path) -> None:
    for folder in place.glob(f"{PREFIX}*"):
        lock = folder / LOCK
        if not folder.is_symlink() and lock.is_file() and lock.lstat().st_uid == os.geteuid():
            try:
                with FileLock(lock, timeout=0):
                    rmtree(folder, ignore_errors=True)
            except (Timeout, OSError):  # somebody is at work there, or has just removed it
                continue
