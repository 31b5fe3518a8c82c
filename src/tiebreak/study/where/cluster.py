"""Runs as tasks of Ray: on a cluster, or on a Ray started here for the study.

The data set lies once in each node's object store. News comes back as a task's stream of results. Ray's own
retries are off, as they want a task that gives the same stream again, and progress depends on the clock.
"""

import inspect
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Event, Thread
from typing import IO, Any

import numpy as np
import ray
from ray import exceptions as died

from tiebreak.data.dataset import ImageDataset, arrays_of, dataset_of, facts_of
from tiebreak.data.facts import Facts
from tiebreak.errors import TiebreakError
from tiebreak.study.plan import Execution
from tiebreak.study.where.machine import available_cores
from tiebreak.study.where.shared_data import (
    SharedData,
    open_shared,
    remove_shared,
)
from tiebreak.study.where.task import MAX_DEATHS, News, RunId, Task, compute, failure_after_deaths
from tiebreak.study.where.worker import (
    SECONDS_BETWEEN_LOOKS,
    Broken,
    Ended,
    Message,
    Setup,
    Warned,
    read,
    read_order,
    take_streams,
    write,
)
from tiebreak.training.checkpoint import Checkpoint
from tiebreak.training.run import NEVER, Stop

SUBMITTED = 200  # tasks that Ray knows of at a time: enough to fill a cluster, or to let it grow
SECONDS_TO_START, STARTS = 300, 3  # of a Ray of our own
SECONDS_TO_LEAVE = 30.0  # in which Ray is to end when the driver is there no more
SECONDS_TO_ANSWER = 10.0
DEATHS = (died.WorkerCrashedError, died.NodeDiedError, died.OutOfMemoryError, died.ObjectLostError)

log = logging.getLogger(__name__)


def compute_on_cluster(
    tasks: Sequence[Task], data: ImageDataset, execution: Execution, stop: Stop = NEVER
) -> Iterator[tuple[RunId, News]]:
    """Compute the tasks on the Ray that this process is connected to, begun in the order given; gives news.

    A run whose worker or node dies goes on elsewhere from its last checkpoint; after `MAX_DEATHS` deaths it
    has failed. At `stop` the tasks are cancelled, as nothing can be said to a task of Ray that is under way.

    Raises: TiebreakError from a run's own code; RayTaskError for any other exception in it.
    """
    waiting = deque(tasks)
    deaths: Counter[RunId] = Counter()
    under_way: dict[Any, Task] = {}  # by the stream of its news
    stored = ray.put((arrays_of(data), facts_of(data)))
    remote = _as_remote(execution)
    try:
        while (waiting or under_way) and not stop.is_set():
            while waiting and len(under_way) < SUBMITTED:
                task = waiting.popleft()
                under_way[remote.remote(task, stored, execution)] = task
            ready, _ = ray.wait(list(under_way), timeout=SECONDS_BETWEEN_LOOKS, fetch_local=False)
            for stream in ready:
                task, news = under_way[stream], _next_news(stream)
                if isinstance(news, DEATHS):
                    deaths[task.run] += 1
                    if deaths[task.run] == MAX_DEATHS:
                        yield task.run, failure_after_deaths(type(news).__name__)
                    else:
                        waiting.appendleft(task)
                elif news is not None:
                    if isinstance(news, Checkpoint):
                        under_way[stream] = replace(task, checkpoint=news.content)
                    yield task.run, news
                    continue
                del under_way[stream]
    finally:
        for stream in under_way:
            ray.cancel(stream, force=True)


def relay() -> None:
    """The life of a process that talks to Ray for a driver; the end of its inbox says that it is to stop."""
    inbox, outbox = take_streams()
    stop = Event()

    def say(message: Message) -> None:
        with suppress(ConnectionError):  # the driver has ended, and the inbox with it
            write(outbox, message)

    try:
        setup = read_order(inbox, Setup)
        tasks = read_order(inbox, list)
        Thread(target=_stop_at_end, args=(inbox, stop, setup.data), daemon=True).start()
        log.addHandler(Telling(say))
        with _connection(setup.execution.address):
            for run, news in compute_on_cluster(tasks, open_shared(setup.data), setup.execution, stop):
                say((run, news))
        say(Ended())
    except TiebreakError as error:
        say(error)
    except BaseException:  # noqa: BLE001 - the driver waits for whatever it is
        say(Broken(traceback.format_exc()))


class Telling(logging.Handler):
    """Tells the driver what would be logged here."""

    def __init__(self, say: Callable[[Message], None]) -> None:
        super().__init__()
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        self.say(Warned(f"{record.getMessage()}\n"))


def _stop_at_end(inbox: IO[bytes], stop: Event, shared: SharedData) -> None:
    """Stop when the driver says no more, or has died; leave even if Ray does not answer any more."""
    while read(inbox) is not None:
        pass
    stop.set()
    time.sleep(SECONDS_TO_LEAVE)
    remove_shared(shared)
    os._exit(1)


def _as_remote(execution: Execution) -> Any:
    """`_compute_remotely` with what a run needs."""
    cpus = execution.threads if execution.cpus_per_run is None else execution.cpus_per_run
    gpus = execution.gpus_per_run
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        log.warning(
            "No node has %g CPUs and %g GPUs, which a run asks for; waiting for one to join.", cpus, gpus
        )
    return ray.remote(
        num_cpus=cpus, num_gpus=gpus, max_retries=0, num_returns="streaming", scheduling_strategy="SPREAD"
    )(inspect.unwrap(_compute_remotely))  # Ray asks for a generator function, which a type checker hides


def _compute_remotely(
    task: Task, stored: tuple[dict[str, np.ndarray], Facts], execution: Execution
) -> Iterator[News]:
    """Compute one task in a worker of Ray. The arrays are views into the node's object store."""
    yield from compute(task, dataset_of(*stored), execution)


def _next_news(stream: Any) -> Any:
    """What a task says next: None if it has ended, the error if its worker has died.

    Raises: TiebreakError as it was raised in the run; RayTaskError for any other exception in it.
    """
    try:
        return ray.get(next(stream))
    except StopIteration:
        return None
    except DEATHS as death:
        return death
    except died.RayTaskError as error:
        if isinstance(error.cause, TiebreakError):
            raise error.cause from None
        raise


@contextmanager
def _connection(address: str | None) -> Iterator[None]:
    """Be connected to Ray inside the block; a Ray that was started for it ends with it.

    Raises: TiebreakError if no cluster answers.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address.startswith("ray://"):
        raise TiebreakError(
            f"{address}: Ray Client cannot stream a run's news. Submit the command as a job "
            "(ray job submit -- tiebreak ...), or run it on a node of the cluster with --address auto."
        )
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", str(SECONDS_TO_START))
    # Of what else Ray waits for at its start it waits for 30 s, which is too short where much is going on.
    tries = STARTS if address == "local" else 1
    while True:
        tries -= 1
        try:
            _knock(address)
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **_local_settings(address))
            break
        except Exception as error:
            ray.shutdown()
            if tries == 0:
                reason = " ".join(str(error).split())
                raise TiebreakError(f"No Ray cluster answers at {address}: {reason}") from error
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Ray has taken it
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises: OSError or ValueError if nobody listens at HOST:PORT, where Ray would try again for minutes."""
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()


def _local_settings(address: str) -> dict[str, Any]:
    """A Ray of our own: no dashboard, and not to be reached from other machines."""
    if address != "local":
        return {}
    # Ray takes 127.0.0.1 to mean the address by which others see this machine; on Linux all 127.* are local.
    # On other systems it stays on this machine by itself.
    node = {"_node_ip_address": "127.0.0.2"} if sys.platform == "linux" else {}
    return {"include_dashboard": False, "num_cpus": len(available_cores()), **node}
