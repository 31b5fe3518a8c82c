"""Runs in processes of this machine: each is started once, takes one run after another, and is replaced if
it dies.

Driver and worker talk over the worker's stdin and stdout. The driver ends a worker by killing it.
"""

import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import torch

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import TiebreakError
from tiebreak.study.plan import Execution
from tiebreak.study.where import WORK, python_command
from tiebreak.study.where.fork_server import ForkedProcess, ForkServer, fork_server, thread_settings
from tiebreak.study.where.machine import available_cores
from tiebreak.study.where.shared_data import share_data
from tiebreak.study.where.task import MAX_DEATHS, News, RunFailure, RunId, Task, failure_after_deaths
from tiebreak.study.where.worker import (
    SECONDS_BETWEEN_LOOKS,
    Ended,
    NoRoom,
    Order,
    Setup,
    Surroundings,
    Warned,
    heard,
    listen,
    write,
)
from tiebreak.training.checkpoint import Checkpoint
from tiebreak.training.run import NEVER, Stop

log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Worker:
    """A worker process as the driver sees it."""

    slot: int  # which of the places for workers; it decides on core and GPU
    process: "subprocess.Popen[bytes] | ForkedProcess"
    task: Task
    since: float = 0.0  # when it got the task, by time.perf_counter


Arrivals = SimpleQueue[tuple[Worker, bytes | None]]  # a message, pickled; None: the worker's stdout has ended


@dataclass(kw_only=True)
class Pool:
    """The workers of a study, and the runs they are to compute."""

    server: ForkServer | None
    setup: Setup
    size: int  # how many workers there are to be
    waiting: deque[Task]
    stopping: bool = False
    workers: list[Worker] = field(default_factory=list)
    arrivals: Arrivals = field(default_factory=SimpleQueue)
    deaths: Counter[RunId] = field(default_factory=Counter)
    took: dict[str, float] = field(default_factory=dict)  # seconds of each contender's last run
    warned: set[str] = field(default_factory=set)


def run_in_processes(
    tasks: Sequence[Task], data: ImageDataset, execution: Execution, workers: int, stop: Stop = NEVER
) -> Iterator[tuple[RunId, News]]:
    """Compute the tasks in that many processes; gives news as it comes.

    A run whose worker dies is begun again in a new one; after `MAX_DEATHS` deaths it has failed. Where the
    system has room for fewer processes, fewer compute.

    Raises: TiebreakError from a run's own code, if no worker can be started, or if the data cannot be laid
    into temporary files.
    """
    with share_data(data) as shared, fork_server(WORK, execution.threads) as server:
        setup = Setup(data=shared, execution=execution)
        pool = Pool(server=server, setup=setup, size=workers, waiting=deque(tasks))
        try:
            for slot in range(workers):
                _begin(pool, slot)
            while pool.workers:
                if stop.is_set() and not pool.stopping:
                    _tell_to_stop(pool)
                try:
                    worker, content = pool.arrivals.get(timeout=SECONDS_BETWEEN_LOOKS)
                except Empty:
                    continue
                if worker in pool.workers:  # else it is the end of one that was stopped
                    for news in _hear(pool, worker, content):
                        yield worker.task.run, news
        finally:
            _stop(pool.workers)


def _hear(pool: Pool, worker: Worker, content: bytes | None) -> Iterator[News]:
    """Act on what a worker says; gives it if it is news of the run, which may end with its worker."""
    run = worker.task.run
    message = None if content is None else heard(content, f"{run.label}, seed {run.seed}")
    if isinstance(message, Warned):
        if message.text not in pool.warned:  # each worker imports the same libraries
            pool.warned.add(message.text)
            sys.stderr.write(message.text)
    elif message is None or isinstance(message, Ended | NoRoom):
        if isinstance(message, Ended):
            pool.took[worker.task.run.label] = time.perf_counter() - worker.since
            if (task := _next_task(pool)) is not None:
                _hand(worker, task)
                return
        pool.workers.remove(worker)
        _stop([worker])
        if message is None and (failure := _after_death(pool, worker)):
            yield failure
        if isinstance(message, NoRoom):
            _do_without(pool, worker.task, message.reason)
        else:
            _begin(pool, worker.slot)
    else:
        if isinstance(message, Checkpoint):
            worker.task = replace(worker.task, checkpoint=message.content)
        assert not isinstance(message, tuple)
        yield message


def _begin(pool: Pool, slot: int) -> None:
    """Start a worker, if a run waits for one and the system has room for it."""
    task = _next_task(pool)
    if task is not None:
        try:
            pool.workers.append(_start(pool, slot, task))
        except (OSError, RuntimeError) as error:  # RuntimeError: no room for a thread
            _do_without(pool, task, str(error))


def _do_without(pool: Pool, task: Task, reason: str) -> None:
    """Put a run back whose worker cannot be started.

    Raises: TiebreakError if there is no other worker to take it.
    """
    pool.waiting.appendleft(task)
    if not pool.workers:
        raise TiebreakError(
            f"No worker process can be started ({reason}); end other processes, raise the limit on them "
            "(ulimit -u), or give --executor serial."
        )
    if pool.size > len(pool.workers):
        pool.size = len(pool.workers)
        log.warning("Only %d worker processes can be started (%s).", pool.size, reason)


def _next_task(pool: Pool) -> Task | None:
    """Take out what is to be computed next; None: nothing.

    It goes seed by seed, so that a study that is stopped has whole pairs, but for the runs under way. Of a
    seed's contenders the one whose runs take longest comes first, and before it those of which that is
    unknown, so that no worker is left alone with a long run at the end.
    """
    if pool.stopping or not pool.waiting:
        return None
    seed = pool.waiting[0].run.seed
    task = max(
        (task for task in pool.waiting if task.run.seed == seed),
        key=lambda task: pool.took.get(task.run.label, math.inf),
    )
    pool.waiting.remove(task)
    return task


def _tell_to_stop(pool: Pool) -> None:
    pool.stopping = True
    for worker in pool.workers:
        _send(worker, None)
        if hasattr(signal, "SIGCONT"):
            worker.process.send_signal(signal.SIGCONT)  # one that somebody has paused is to hear of it, too


def _after_death(pool: Pool, worker: Worker) -> RunFailure | None:
    """Put a dead worker's run back to be begun again, or give it up."""
    status, run = worker.process.wait(), worker.task.run
    pool.deaths[run] += 1
    if pool.deaths[run] == MAX_DEATHS:
        return failure_after_deaths(signal.Signals(-status).name if status < 0 else f"exit status {status}")
    pool.waiting.appendleft(worker.task)
    return None


def _start(pool: Pool, slot: int, task: Task) -> Worker:
    """Start a worker process and hand it its first task.

    Raises: OSError or RuntimeError if the system has no room for one more process or thread.
    """
    threads = pool.setup.execution.threads
    environment = os.environ | thread_settings(threads) | _gpu_of(slot, pool.setup)
    cores = _cores_of(slot, pool.size, threads)
    process: subprocess.Popen[bytes] | ForkedProcess | None = pool.server.fork() if pool.server else None
    forked = process is not None
    if process is None:
        process = subprocess.Popen(  # nosec B603
            python_command(WORK, False, cores=cores),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
    worker = Worker(slot=slot, process=process, task=task)

    def pass_on(content: bytes | None) -> None:
        pool.arrivals.put((worker, content))

    try:
        Thread(target=listen, args=(process.stdout, pass_on), daemon=True).start()
    except RuntimeError:
        _stop([worker])
        raise
    if forked:
        directory = Path.cwd()
        _send(
            worker, Surroundings(sys_path=sys.path, directory=directory, environment=environment, cores=cores)
        )
    _send(worker, pool.setup)
    _hand(worker, task)
    return worker


def _hand(worker: Worker, task: Task) -> None:
    """Give a worker its next task."""
    worker.task, worker.since = task, time.perf_counter()
    _send(worker, task)


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


def _send(worker: Worker, order: Order) -> None:
    assert worker.process.stdin is not None
    with suppress(ConnectionError):  # it has just died; the end of its stdout tells
        write(worker.process.stdin, order)


def _stop(workers: list[Worker]) -> None:
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        assert worker.process.stdin is not None
        with suppress(ConnectionError):  # what was still to be sent has no reader
            worker.process.stdin.close()
        worker.process.wait()
