"""One process at a time works on a study folder; a process that died holds it no longer."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from tiebreak.errors import StudyError
from tiebreak.files import atomic_write

LOCK = ".lock"  # the kernel's lock on this file is what counts; that the file is there means nothing
HOLDER = ".lock-holder.txt"  # who holds it, for the others to read


@contextmanager
def study_lock(folder: Path) -> Iterator[None]:
    """Hold a study folder, which is made if need be.

    Raises: StudyError if another process holds it (it names which, where and since when), or if
    nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The driver is a generator, which another thread may close.
        lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
        lock.acquire()
        with atomic_write(folder / HOLDER) as file:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}".encode())
    except Timeout:
        raise StudyError(
            f"{folder} is in use by {_holder(folder)}; wait for its end or choose another --out."
        ) from None
    except OSError as error:
        raise StudyError(f"{folder} cannot be written: {error.strerror or error}.") from None
    try:
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    try:
        return (folder / HOLDER).read_text(encoding="utf-8")[:200]
    except (OSError, UnicodeDecodeError):
        return "another process"
