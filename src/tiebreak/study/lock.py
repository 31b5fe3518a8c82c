"""One process at a time works on a study folder; a process that died holds it no longer."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from tiebreak.errors import StudyError
from tiebreak.files import atomic_write

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"  # the kernel's lock on this file is what counts; that the file is there means nothing
HOLDER = ".lock-holder.txt"  # who holds it, for the others to read

log = logging.getLogger(__name__)


@contextmanager
def study_lock(folder: Path) -> Iterator[None]:
    """Hold a study folder, which is made if need be.

    Raises: StudyError if another process holds it (it names which, where and since when), or if
    nothing can be written there.
    """
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # The driver is a generator, which another thread may close.
            lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
            lock.acquire()
            held.callback(lock.release)
            held.enter_context(_folder_lock(folder))
            with atomic_write(folder / HOLDER) as file:
                since = datetime.now(UTC).isoformat(timespec="seconds")
                file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}".encode())
            held.callback((folder / HOLDER).unlink, missing_ok=True)
        except (Timeout, BlockingIOError):
            raise StudyError(
                f"{folder} is in use by {_holder(folder)}; wait for its end or choose another --out."
            ) from None
        except OSError as error:
            raise StudyError(f"{folder} cannot be written: {error.strerror or error}.") from None
        yield


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Lock the folder itself where the system can, since its lock file can be removed.

    Raises: BlockingIOError if another process has it.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as error:  # some network file systems lock files alone
            log.info("%s itself cannot be locked: %s", folder, error)
        yield
    finally:
        os.close(descriptor)


def _holder(folder: Path) -> str:
    try:
        return (folder / HOLDER).read_text(encoding="utf-8")[:200]
    except (OSError, UnicodeDecodeError):
        return "another process"
