"""The life of a worker process, and what it and its driver say to each other.

They talk in pickles, each after its length. A worker writes no files, so that it can be killed at any time.
One whose inbox has come to its end has lost its driver, and leaves.
"""

import os
import pickle
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import IO, NoReturn, TextIO, TypeVar

from tiebreak.errors import TiebreakError
from tiebreak.study.plan import Execution
from tiebreak.study.where.shared_data import SharedData, open_shared, remove_shared
from tiebreak.study.where.task import News, RunId, Task, compute

LENGTH_BYTES = 8  # before each message
SECONDS_BETWEEN_LOOKS = 0.5  # of a driver at `stop`, while there is no news
LEAVING = Lock()


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a worker is told once."""

    data: SharedData
    execution: Execution


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a forked worker takes over from the driver, which may have changed since the server began."""

    sys_path: list[str]
    directory: Path
    environment: dict[str, str]
    cores: list[int]

    def enter(self) -> None:
        sys.path[:] = self.sys_path
        os.chdir(self.directory)
        os.environ.clear()
        os.environ.update(self.environment)
        if self.cores:
            os.sched_setaffinity(0, self.cores)


@dataclass(frozen=True)
class Warned:
    """A warning of a library or of a user's model, as Python would print it."""

    text: str


@dataclass(frozen=True)
class Broken:
    """Whatever else than a TiebreakError ended a worker's task: its traceback."""

    traceback: str


@dataclass(frozen=True)
class NoRoom:
    """The system does not let a worker begin."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """What a worker says after the last news of a task."""


Said = News | tuple[RunId, News] | Warned | NoRoom | Ended
Message = Said | Broken | TiebreakError
Kind = TypeVar("Kind")
Order = Surroundings | Setup | Task | list[Task] | None  # None: stop


def write(stream: IO[bytes], message: Message | Order) -> None:
    content = pickle.dumps(message)  # before a part of it is on its way: not all can be pickled
    stream.write(len(content).to_bytes(LENGTH_BYTES, "big"))
    stream.write(content)
    stream.flush()


def read(stream: IO[bytes]) -> bytes | None:
    """The next message, pickled; None if the other side has ended, maybe in the midst of one."""
    try:
        start = stream.read(LENGTH_BYTES)
        length = int.from_bytes(start, "big")
        content = stream.read(length)
    except ConnectionError:
        return None
    return content if len(start) == LENGTH_BYTES and len(content) == length else None


def listen(stream: IO[bytes], pass_on: Callable[[bytes | None], None]) -> None:
    """Pass on what the other side says, and None when it says no more."""
    with stream:
        while (content := read(stream)) is not None:
            pass_on(content)
    pass_on(None)


def heard(content: bytes, who: str) -> Said:
    """What was said. `who`: what it is about, for an error's message.

    Raises: TiebreakError if that was said, something went wrong there, or it cannot be understood.
    """
    try:
        message: Message = pickle.loads(content)  # noqa: S301 - from a process of our own  # nosec B301
    except Exception as error:
        raise TiebreakError(
            f"{who}: what the run gives cannot be sent from process to process ({error}); "
            "give --executor serial."
        ) from error
    if isinstance(message, TiebreakError):
        raise message
    if isinstance(message, Broken):
        sys.stderr.write(message.traceback)
        raise TiebreakError(f"{who}: an error ended the run; its traceback is above.")
    return message


def take_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Stdin and stdout, for messages alone: what a user's model reads or prints must not get between them."""
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return inbox, outbox


def work(forked: bool = True) -> None:
    """The life of a worker process: its setup, then one task after another, until it is killed.

    Whatever goes wrong is said to the driver, which waits for it.
    """
    inbox, outbox = take_streams()
    shared: SharedData | None = None

    def say(message: Message) -> None:
        try:
            write(outbox, message)
        except ConnectionError:
            _leave(shared)

    def warn(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        say(Warned(warnings.formatwarning(message, category, filename, lineno, line)))

    warnings.showwarning = warn
    try:
        if forked:
            read_order(inbox, Surroundings).enter()
        setup = read_order(inbox, Setup)
        shared = setup.data
        data = open_shared(shared)
        tasks: SimpleQueue[Task] = SimpleQueue()
        stop = Event()
        try:
            Thread(target=_take_orders, args=(inbox, tasks, stop, shared), daemon=True).start()
        except RuntimeError as error:  # the system has no room for one more thread
            say(NoRoom(str(error)))
            return
        while True:
            for news in compute(tasks.get(), data, setup.execution, stop):
                say(news)
            say(Ended())
    except TiebreakError as error:
        say(error)
    except BaseException:  # noqa: BLE001 - a user's model may raise anything, and print what it likes
        say(Broken(traceback.format_exc()))


def read_order(inbox: IO[bytes], kind: type[Kind]) -> Kind:
    """The first things that a driver says; without a driver there is nothing to be done."""
    content = read(inbox)
    if content is None:
        _leave(None)
    order = pickle.loads(content)  # noqa: S301 - from our driver  # nosec B301
    assert isinstance(order, kind)
    return order


def _take_orders(inbox: IO[bytes], tasks: SimpleQueue[Task], stop: Event, shared: SharedData) -> None:
    """Take tasks from the driver, and None, the order to stop; leave when there is no driver any more."""
    while (content := read(inbox)) is not None:
        order: Task | None = pickle.loads(content)  # noqa: S301 - from our driver  # nosec B301
        if order is None:
            stop.set()
        else:
            tasks.put(order)
    _leave(shared)


def _leave(shared: SharedData | None) -> NoReturn:
    """End this process, whatever it is computing. The driver could not tidy up, so do that for it."""
    LEAVING.acquire()  # for good: one thread tidies up, and none ends the process meanwhile
    if shared is not None:
        remove_shared(shared)
    os._exit(0)
