"""Worker processes that need not import PyTorch: forks of a process that has (Linux).

Imports take seconds, a fork milliseconds. The fork server imports all that a run needs, if asked early while
the driver is still busy with its own imports, and then does nothing but fork. It computes nothing, so it has
one thread only, as a process must have that is to be forked safely.
"""

import atexit
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

ID_BYTES = 8  # of a process id, as the server sends it
PR_SET_CHILD_SUBREAPER = 36  # see prctl(2)

# Signals that terminals and schedulers send to a whole group of processes are for the driver alone.
START = """
import json, signal, sys
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
sys.path[:], descriptor = json.loads(sys.argv[1])
from tiebreak.study.fork_server import serve
serve(descriptor)
"""


@dataclass(kw_only=True, eq=False)
class ForkedProcess:
    """A child process, with the part of `subprocess.Popen`'s interface that workers need."""

    pid: int
    stdin: BinaryIO
    stdout: BinaryIO
    status: int | None = None  # as Popen.returncode: minus the signal's number if one ended it

    def kill(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status


class ForkServer:
    """A fork server, as its driver sees it."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.connection, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # nosec B603
                [sys.executable, "-c", START, json.dumps([sys.path, theirs.fileno()])],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | thread_settings(threads) | {"OPENBLAS_NUM_THREADS": "1"},
            )

    def fork(self) -> ForkedProcess | None:
        """A new child of this process, which runs `workers.work`; None if the server has died."""
        child_stdin, stdin = os.pipe()
        stdout, child_stdout = os.pipe()
        try:
            with _adopting():
                socket.send_fds(self.connection, [b"fork"], [child_stdin, child_stdout, 2])
                answer = self.connection.recv(ID_BYTES)
        except ConnectionError:
            answer = b""
        finally:
            os.close(child_stdin)
            os.close(child_stdout)
        if not answer:
            os.close(stdin)
            os.close(stdout)
            return None
        pid = int.from_bytes(answer, sys.byteorder)
        return ForkedProcess(pid=pid, stdin=os.fdopen(stdin, "wb"), stdout=os.fdopen(stdout, "rb"))

    def close(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()


_early: list[ForkServer] = []  # at most one, for the rest of this process


def start_early(threads: int) -> None:
    """Start a fork server now, for all studies of this process that use so many threads a run."""
    if sys.platform == "linux" and not _early and len(os.sched_getaffinity(0)) > 1:
        _early.append(ForkServer(threads))
        atexit.register(_early[0].close)


def has_early_server() -> bool:
    """Whether `start_early` was called, where it does something."""
    return bool(_early)


@contextmanager
def fork_server(threads: int) -> Iterator[ForkServer | None]:
    """The server that was started early, if it fits, or one for the time of the block; None elsewhere."""
    if sys.platform != "linux":
        yield None
    elif _early and _early[0].threads == threads:
        yield _early[0]
    else:
        server = ForkServer(threads)
        try:
            yield server
        finally:
            server.close()


def thread_settings(threads: int) -> dict[str, str]:
    """The environment that keeps the libraries of a process to so many threads."""
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


@contextmanager
def _adopting() -> Iterator[None]:
    """Let orphans among this process's descendants become its children, inside the block."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def serve(descriptor: int) -> NoReturn:
    """The life of a fork server: a fork for each message, until the driver has closed its end."""
    connection = socket.socket(fileno=descriptor)
    import torch._dynamo  # noqa: F401 - an optimiser would import it at its first step

    import tiebreak.study.workers  # noqa: F401 - all that a run needs

    while True:
        message, streams, _, _ = socket.recv_fds(connection, 16, 3)
        if not message:
            os._exit(0)
        pid = _fork_orphan(connection, streams)
        for stream in streams:
            os.close(stream)
        connection.send(pid.to_bytes(ID_BYTES, sys.byteorder))


def _fork_orphan(connection: socket.socket, streams: Sequence[int]) -> int:
    """Fork a worker whose parent ends at once, so that the driver adopts it; gives its process id."""
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        worker = os.fork()
        if worker == 0:
            connection.close()
            os.close(reader)
            os.close(writer)
            _live(streams)
        os.write(writer, worker.to_bytes(ID_BYTES, sys.byteorder))
        os._exit(0)
    os.waitpid(parent, 0)
    pid = int.from_bytes(os.read(reader, ID_BYTES), sys.byteorder)
    os.close(reader)
    os.close(writer)
    return pid


def _live(streams: Sequence[int]) -> NoReturn:
    """Work; an exception ends the process as it ends any Python program, not back in the server's loop."""
    from tiebreak.study.workers import PYTHON_ERROR, work

    for descriptor, stream in enumerate(streams):
        os.dup2(stream, descriptor)
        os.close(stream)
    try:
        work(forked=True)
    finally:  # only an exception leads here
        traceback.print_exc()
        os._exit(PYTHON_ERROR)
