"""Runs in processes of this machine: each is started once, takes one run after another, and is replaced if
it dies.

Driver and worker talk in pickles over the worker's stdin and stdout. The driver ends a worker by killing it,
as a worker writes no files; a worker whose stdin has come to its end has lost its driver, and leaves.
"""

import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import BinaryIO, NoReturn

import torch

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import TiebreakError
from tiebreak.study.executor import (
    MAX_DEATHS,
    News,
    RunFailure,
    RunId,
    Task,
    compute,
    failure_after_deaths,
)
from tiebreak.study.fork_server import ForkedProcess, ForkServer, fork_server, thread_settings
from tiebreak.study.plan import Execution
from tiebreak.study.resources import available_cores
from tiebreak.study.shared_data import SharedData, open_shared, remove_shared, share_data
from tiebreak.training.checkpoint import Checkpoint
from tiebreak.training.run import NEVER, Stop

LEAVING = Lock()
PYTHON_ERROR = 1  # exit status of a process that an exception ended; it has printed the traceback

# What a worker does before its imports: signals that terminals and schedulers send to a whole group of
# processes are for the driver alone, and threads that libraries start keep to the process's cores. It does
# not import the user's main script, as the workers of `multiprocessing` do, so that a script needs no
# `if __name__ == "__main__"` to compare models.
START = """
import json, os, signal, sys
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
sys.path[:], cores = json.loads(sys.argv[1])
if cores:
    os.sched_setaffinity(0, cores)
from tiebreak.study.workers import work
work()
"""


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


@dataclass(kw_only=True, eq=False)
class Worker:
    """A worker process as the driver sees it."""

    slot: int  # which of the places for workers; it decides on core and GPU
    process: "subprocess.Popen[bytes] | ForkedProcess"
    task: Task
    since: float = 0.0  # when it got the task, by time.perf_counter


@dataclass(frozen=True)
class Ended:
    """What a worker says after the last news of a task."""


Arrivals = SimpleQueue[
    tuple[Worker, News | Ended | TiebreakError | None]
]  # None: the worker's stdout has ended


def run_in_processes(
    tasks: Sequence[Task], data: ImageDataset, execution: Execution, workers: int, stop: Stop = NEVER
) -> Iterator[tuple[RunId, News]]:
    """Compute the tasks in that many processes; gives news as it comes.

    Long runs begin first, so that no worker is left alone with one at the end. A run whose worker dies is
    begun again in a new one; after `MAX_DEATHS` deaths it has failed.

    Raises: TiebreakError from a run's own code; OSError if the data cannot be laid into a temporary file.
    """
    waiting = deque(tasks)
    deaths: Counter[RunId] = Counter()
    took: dict[str, float] = {}  # seconds of each contender's last run
    arrivals: Arrivals = SimpleQueue()
    pool: list[Worker] = []
    stopping = False
    with share_data(data) as shared, fork_server(execution.threads) as server:
        setup = Setup(data=shared, execution=execution)
        try:
            while waiting and len(pool) < workers:
                pool.append(_start(server, len(pool), workers, setup, _longest(waiting, took), arrivals))
            while pool:
                worker, news = arrivals.get()
                if worker not in pool:
                    continue  # the end of one that was stopped
                if stop.is_set() and not stopping:
                    stopping = True
                    for each in pool:
                        _send(each, None)
                if isinstance(news, TiebreakError):
                    raise news
                if news is not None and not isinstance(news, Ended):
                    if isinstance(news, Checkpoint):
                        worker.task = replace(worker.task, checkpoint=news.content)
                    yield worker.task.run, news
                    continue
                if news is None and (failure := _after_death(worker, deaths, waiting)):
                    yield worker.task.run, failure
                if news is not None:
                    took[worker.task.run.label] = time.perf_counter() - worker.since
                    if waiting and not stopping:
                        _hand(worker, _longest(waiting, took))
                        continue
                pool.remove(worker)
                _stop([worker])
                if waiting and not stopping:
                    pool.append(
                        _start(server, worker.slot, workers, setup, _longest(waiting, took), arrivals)
                    )
        finally:
            _stop(pool)


def _longest(waiting: deque[Task], took: Mapping[str, float]) -> Task:
    """Take out the first run of the contender whose runs take longest; those of unknown length come first."""
    task = max(waiting, key=lambda task: took.get(task.run.label, math.inf))
    waiting.remove(task)
    return task


def _after_death(worker: Worker, deaths: Counter[RunId], waiting: deque[Task]) -> RunFailure | None:
    """Put a dead worker's run back to be begun again, or give it up.

    Raises: TiebreakError if an exception in the run ended the worker, as it would come again.
    """
    _close(worker)
    status, run = worker.process.wait(), worker.task.run
    if status == PYTHON_ERROR:
        raise TiebreakError(f"{run.label}, seed {run.seed}: an error ended the run; its traceback is above.")
    deaths[run] += 1
    if deaths[run] == MAX_DEATHS:
        return failure_after_deaths(signal.Signals(-status).name if status < 0 else f"exit status {status}")
    waiting.appendleft(worker.task)
    return None


def _start(
    server: ForkServer | None, slot: int, workers: int, setup: Setup, task: Task, arrivals: Arrivals
) -> Worker:
    """Start a worker process and hand it its first task."""
    threads = setup.execution.threads
    environment = os.environ | thread_settings(threads) | _gpu_of(slot, setup)
    cores = _cores_of(slot, workers, threads)
    process: subprocess.Popen[bytes] | ForkedProcess | None = server.fork() if server else None
    forked = process is not None
    if process is None:
        process = subprocess.Popen(  # nosec B603
            [sys.executable, "-c", START, json.dumps([sys.path, cores])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
    worker = Worker(slot=slot, process=process, task=task)
    Thread(target=_listen, args=(worker, arrivals), daemon=True).start()
    if forked:
        surroundings = Surroundings(
            sys_path=sys.path, directory=Path.cwd(), environment=environment, cores=cores
        )
        _send(worker, surroundings)
    _send(worker, setup)
    return _hand(worker, task)


def _hand(worker: Worker, task: Task) -> Worker:
    """Give a worker its next task."""
    worker.task, worker.since = task, time.perf_counter()
    _send(worker, task)
    return worker


def _cores_of(slot: int, workers: int, threads: int) -> list[int]:
    """The cores a worker keeps to; [] where not all are used, as another study may have chosen the same."""
    cores = available_cores() if sys.platform == "linux" else []
    if workers * threads != len(cores):
        return []
    return cores[slot * threads : (slot + 1) * threads]


def _gpu_of(slot: int, setup: Setup) -> dict[str, str]:
    """The environment that shows a worker one GPU of several, in turn."""
    count = torch.cuda.device_count()
    if count < 2 or setup.execution.device not in ("auto", "cuda"):
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(count)]
    return {"CUDA_VISIBLE_DEVICES": names[slot % count]}


def _send(worker: Worker, message: Surroundings | Setup | Task | None) -> None:
    stream = worker.process.stdin
    assert stream is not None
    with suppress(BrokenPipeError):  # it has just died; the end of its stdout tells
        pickle.dump(message, stream)
        stream.flush()


def _listen(worker: Worker, arrivals: Arrivals) -> None:
    """Pass on what a worker says, and that it says no more."""
    stream = worker.process.stdout
    assert stream is not None
    with stream:
        try:
            while True:
                arrivals.put((worker, pickle.load(stream)))  # noqa: S301 - from a process of our own  # nosec B301
        except (EOFError, pickle.UnpicklingError):  # it ended, maybe in the midst of a message
            arrivals.put((worker, None))


def _stop(workers: list[Worker]) -> None:
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        _close(worker)
        worker.process.wait()


def _close(worker: Worker) -> None:
    stream = worker.process.stdin
    assert stream is not None
    with suppress(BrokenPipeError):  # what was still to be sent has no reader
        stream.close()


def work(forked: bool = False) -> NoReturn:
    """The life of a worker process: its setup, then one task after another, until it is killed."""
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a user's model reads or prints must not get between the messages.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    if forked:
        surroundings: Surroundings = pickle.load(inbox)  # noqa: S301 - from our driver  # nosec B301
        surroundings.enter()
    setup: Setup = pickle.load(inbox)  # noqa: S301 - from our driver  # nosec B301
    data = open_shared(setup.data)
    tasks: SimpleQueue[Task] = SimpleQueue()
    stop = Event()
    Thread(target=_take_orders, args=(inbox, tasks, stop, setup), daemon=True).start()

    def say(message: News | Ended | TiebreakError) -> None:
        try:
            pickle.dump(message, outbox)
            outbox.flush()
        except BrokenPipeError:
            _leave(setup)

    while True:
        try:
            for news in compute(tasks.get(), data, setup.execution, stop):
                say(news)
            say(Ended())
        except TiebreakError as error:
            say(error)


def _take_orders(inbox: BinaryIO, tasks: SimpleQueue[Task], stop: Event, setup: Setup) -> None:
    """Take tasks from the driver, and None, the order to stop; leave when there is no driver any more."""
    try:
        while True:
            order: Task | None = pickle.load(inbox)  # noqa: S301 - from our driver  # nosec B301
            if order is None:
                stop.set()
            else:
                tasks.put(order)
    except (EOFError, pickle.UnpicklingError):
        _leave(setup)


def _leave(setup: Setup) -> NoReturn:
    """End this process, whatever it is computing. The driver could not tidy up, so do that for it."""
    LEAVING.acquire()  # for good: one thread tidies up, and none ends the process meanwhile
    remove_shared(setup.data)
    os._exit(0)
