"""Worker processes that need not import PyTorch: forks of a process that has (Linux).

Imports take seconds, a fork milliseconds. The fork server imports all that a run needs, if asked early while
the driver is still busy with its own imports, and then does nothing but fork. It computes nothing, so it has
one thread only, as a process must have that is to be forked safely.

Why not the standard library's (`multiprocessing.forkserver`): its children import the user's main script, so
that a script would need `if __name__ == "__main__"` to compare models; there is one for the whole program,
whose preloaded modules and environment would be ours; and a SIGTERM to the group of processes, as schedulers
send it, ends it.
"""

import atexit
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from tiebreak.study.where import python_command

ANSWER_BYTES = 8
SERVE = "tiebreak.study.where.fork_server:serve"
PR_SET_PDEATHSIG = 1  # see prctl(2)


@dataclass(kw_only=True, eq=False)
class ForkedProcess:
    """A child of the fork server, with the part of `subprocess.Popen`'s interface that workers need."""

    server: "ForkServer"
    pid: int  # the process's until `wait`, as the server reaps its children only then
    stdin: BinaryIO
    stdout: BinaryIO
    status: int | None = None  # as Popen.returncode: minus the signal's number if one ended it

    def send_signal(self, number: int) -> None:
        if self.status is None:
            with suppress(ProcessLookupError):  # it has ended, and the server too
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        if self.status is None:
            status = self.server.ask(self.pid.to_bytes(ANSWER_BYTES, sys.byteorder))
            self.status = -signal.SIGKILL if status is None else status  # nobody knows it any more
        return self.status


class ForkServer:
    """A fork server, as its driver sees it. It ends when the driver does."""

    def __init__(self, entry: str, threads: int) -> None:
        self.threads = threads
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(  # nosec B603
                python_command(SERVE, theirs.fileno(), os.getpid(), entry),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | thread_settings(threads) | {"OPENBLAS_NUM_THREADS": "1"},
            )

    def fork(self) -> ForkedProcess | None:
        """A new process that runs the entry point; None if the server has died.

        Raises: OSError if the system has no room for one more process.
        """
        ours, theirs = socket.socketpair()
        with ours, theirs:
            pid = self.ask(b"fork", [theirs.fileno(), theirs.fileno(), 2])
            if pid is None:
                return None
            if pid < 0:
                raise OSError(-pid, os.strerror(-pid))
            return ForkedProcess(server=self, pid=pid, stdin=ours.makefile("wb"), stdout=ours.makefile("rb"))

    def ask(self, message: bytes, streams: Sequence[int] = ()) -> int | None:
        """The server's answer to a message: see `serve`; None if it has died."""
        try:
            self.process.send_signal(signal.SIGCONT)  # somebody may have paused it
            socket.send_fds(self.connection, [message], streams)
            answer = self.connection.recv(ANSWER_BYTES)
        except ConnectionError:
            answer = b""
        return int.from_bytes(answer, sys.byteorder, signed=True) if answer else None

    def close(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()


_early: list[ForkServer] = []  # at most one, for the rest of this process


def start_early(entry: str, threads: int) -> None:
    """Start a fork server now, for all studies of this process that use so many threads a run."""
    if not _early and sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1:
        server = _server(entry, threads)
        if server is not None:
            _early.append(server)
            atexit.register(server.close)


def has_early_server() -> bool:
    """Whether `start_early` was called, where it does something."""
    return bool(_early)


@contextmanager
def fork_server(entry: str, threads: int) -> Iterator[ForkServer | None]:
    """The server that was started early, if it fits, or one for the time of the block; None where none is."""
    if _early and _early[0].threads == threads:
        yield _early[0]
        return
    server = _server(entry, threads) if sys.platform == "linux" else None
    try:
        yield server
    finally:
        if server is not None:
            server.close()


def _server(entry: str, threads: int) -> ForkServer | None:
    try:
        return ForkServer(entry, threads)
    except OSError:  # no room for one more process: one can do without
        return None


def thread_settings(threads: int) -> dict[str, str]:
    """The environment that keeps the libraries of a process to so many threads."""
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def serve(descriptor: int, driver: int, entry: str) -> NoReturn:
    """The life of a fork server: it answers the driver until that one has ended.

    A message with three streams asks for a process that runs `entry` with them as stdin, stdout and stderr;
    the answer is its id, or minus an errno. A message without asks for the end of the process that it names;
    the answer is its exit status, or minus a signal.
    """
    connection = socket.socket(fileno=descriptor)
    with _ending_with(driver), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the driver imports the same, and warns of it
        import torch._dynamo  # noqa: F401 - an optimiser would import it at its first step

        work: Callable[[], None] = pkgutil.resolve_name(entry)  # with all that a run needs
    while True:
        message, streams, _, _ = socket.recv_fds(connection, ANSWER_BYTES, 3)
        if not message:
            os._exit(0)
        answer = _fork(connection, streams, work) if streams else _status(message)
        with suppress(ConnectionError):  # then the next message is the last
            connection.send(answer.to_bytes(ANSWER_BYTES, sys.byteorder, signed=True))


@contextmanager
def _ending_with(driver: int) -> Iterator[None]:
    """Let the kernel end this process if the driver ends inside the block, where nobody reads messages."""
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != driver:
        os._exit(0)
    yield
    prctl(PR_SET_PDEATHSIG, 0)  # it would also come if the driver's thread that started this process ended


def _fork(connection: socket.socket, streams: Sequence[int], work: Callable[[], None]) -> int:
    try:
        pid = os.fork()
    except OSError as error:
        pid = -(error.errno or 1)
    if pid == 0:
        connection.close()
        for descriptor, stream in enumerate(streams):
            os.dup2(stream, descriptor)
        try:
            work()
        except BaseException:  # noqa: BLE001 - it must not come back into the server's loop
            traceback.print_exc()
        finally:
            os._exit(1)
    for stream in streams:
        os.close(stream)
    return pid


def _status(message: bytes) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(int.from_bytes(message, sys.byteorder), 0)[1])
