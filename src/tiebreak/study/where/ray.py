"""Runs on Ray (https://docs.ray.io), which a process of its own talks to.

Where a Ray node dies, Ray's library ends the process that is connected to it, from native code. So that
process is not the driver, which keeps what is finished and says what has happened.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from threading import Thread

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import TiebreakError
from tiebreak.study.plan import Execution
from tiebreak.study.where import RELAY, python_command
from tiebreak.study.where.shared_data import share_data
from tiebreak.study.where.task import News, RunId, Task
from tiebreak.study.where.worker import (
    SECONDS_BETWEEN_LOOKS,
    Ended,
    Setup,
    Warned,
    heard,
    listen,
    write,
)
from tiebreak.training.run import NEVER, Stop

SECONDS_TO_LEAVE = 60.0  # of a relay: it ends what Ray computes for it, and a Ray of its own


def run_on_ray(
    tasks: Sequence[Task], data: ImageDataset, execution: Execution, stop: Stop = NEVER
) -> Iterator[tuple[RunId, News]]:
    """Compute the tasks on Ray, begun in the order given; gives news as it comes.

    Without an address, RAY_ADDRESS counts, as in a job that was submitted to a cluster. A connection that the
    caller has made already is used, from this process, and left open.

    Raises: TiebreakError if Ray is not installed, no cluster answers or it dies, or from a run's own code.
    """
    if find_spec("ray") is None:
        raise TiebreakError('The executor "ray" needs Ray, which is an extra: pip install "tiebreak[ray]".')
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        from tiebreak.study.where.cluster import compute_on_cluster

        yield from compute_on_cluster(tasks, data, execution, stop)
        return
    arrivals: SimpleQueue[bytes | None] = SimpleQueue()
    stopping = False
    with share_data(data) as shared, _relay() as process:
        assert process.stdin is not None
        Thread(target=listen, args=(process.stdout, arrivals.put), daemon=True).start()
        with suppress(ConnectionError):  # it has ended, which is seen below
            write(process.stdin, Setup(data=shared, execution=execution))
            write(process.stdin, list(tasks))
        while True:
            if stop.is_set() and not stopping:
                stopping = True
                process.stdin.close()
            try:
                content = arrivals.get(timeout=SECONDS_BETWEEN_LOOKS)
            except Empty:
                continue
            if content is None:
                raise TiebreakError(
                    f"Ray has died, and its driver with it (exit status {process.wait()}); what is finished "
                    "is kept. Give the same command to go on; Ray's logs are in /tmp/ray/session_latest/logs."
                )
            message = heard(content, "A run on Ray")
            if isinstance(message, Ended):
                return
            if isinstance(message, Warned):
                sys.stderr.write(message.text)
            else:
                assert isinstance(message, tuple)
                yield message


@contextmanager
def _relay() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that talks to Ray. What Ray's library prints there is for its logs."""
    process = subprocess.Popen(  # nosec B603
        python_command(RELAY), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        with suppress(ConnectionError):
            process.stdin.close()
        try:
            process.wait(SECONDS_TO_LEAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
