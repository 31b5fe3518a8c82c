"""Runs side by side, one thread each, which is how `--workers auto` uses a machine."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection

from tiebreak.bench.loops import PRECISIONS, bench_part, tiebreak_loops
from tiebreak.data.dataset import ImageDataset
from tiebreak.rng import global_stream
from tiebreak.study.where.shared_data import SharedData, open_shared, share_data
from tiebreak.training.placement.device import thread_count
from tiebreak.training.placement.placement import Precision


@contextmanager
def side_by_side(
    model: str, data: ImageDataset, cores: Sequence[int], precisions: Sequence[Precision] = PRECISIONS
) -> Iterator[Callable[[Precision, float], float]]:
    """One process a core, each with the same model, ready to train at once when the function is called.

    The function takes a precision and seconds, and gives the steps a second of all together. The processes
    wait without work in between.
    """
    context = multiprocessing.get_context("spawn")
    with share_data(data) as shared:
        pairs = [context.Pipe() for _ in cores]
        ours = [ours for ours, _ in pairs]
        processes = [
            context.Process(
                target=_train_when_told, args=(model, shared, core, precisions, theirs), daemon=True
            )
            for core, (_, theirs) in zip(cores, pairs, strict=True)
        ]

        def steps_a_second(precision: Precision, seconds: float) -> float:
            for connection in ours:
                connection.send((precision, seconds))
            return sum(connection.recv() for connection in ours)

        try:
            for process in processes:
                process.start()
            for _, theirs in pairs:
                theirs.close()  # so that a process that dies is seen as the end of its pipe
            for connection in ours:
                connection.recv()  # ready
            yield steps_a_second
        finally:
            for connection in ours:
                connection.close()
            for process in processes:
                process.join()


def _train_when_told(
    model: str, shared: SharedData, core: int, precisions: Sequence[Precision], connection: Connection
) -> None:
    """Of one process: train for as long as it is told, each time; leave when the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    data = open_shared(shared)
    with thread_count(1), global_stream(0, "bench"):
        loops = tiebreak_loops(model, data, bench_part(data), precisions)
        connection.send(None)
        while True:
            try:
                precision, seconds = connection.recv()
            except EOFError:
                return
            connection.send(loops[precision].steps_a_second(seconds))
