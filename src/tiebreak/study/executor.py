"""Where a study's runs are computed. An executor takes tasks and gives back news; it writes no files.

Stopping: the driver hands a `stop` (anything with `is_set()`, such as an event of threading or
multiprocessing) down to every `train_run`, which looks at it after each batch. Once it is set, a run gives
its last `Checkpoint` and ends without `RunFinished`; the executor begins no further task, passes on the
news of those under way until each has ended, and ends. News is picklable. Processes that compute must
ignore SIGINT: Ctrl-C reaches them too, and the driver answers for all. Closing the generator stops
everything at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import DeviceMemoryError, DivergedError
from tiebreak.study.plan import Execution
from tiebreak.training.checkpoint import Checkpoint, Resumed
from tiebreak.training.device import choose_device, thread_count
from tiebreak.training.loop import EpochResult
from tiebreak.training.run import NEVER, RunProgress, RunResult, RunSpec, Stop, train_run


@dataclass(frozen=True, kw_only=True)
class RunId:
    """Which run a piece of news is about."""

    label: str
    seed: int
    epochs: int  # that it will take


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run to be computed."""

    run: RunId
    spec: RunSpec
    checkpoint: bytes | None = None  # to go on from


@dataclass(frozen=True, kw_only=True)
class RunFailure:
    """A run that ended without a result."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    """A run that ended with a result, and where it was computed."""

    result: RunResult
    device: str
    threads: int


News = RunProgress | EpochResult | Checkpoint | Resumed | RunFinished | RunFailure


def execute(
    tasks: Sequence[Task], data: ImageDataset, execution: Execution, stop: Stop = NEVER
) -> Iterator[tuple[RunId, News]]:
    """Compute the tasks; gives each one's news as it happens."""
    for task in tasks:
        if stop.is_set():
            return
        for news in compute(task, data, execution, stop):
            yield task.run, news


def compute(task: Task, data: ImageDataset, execution: Execution, stop: Stop = NEVER) -> Iterator[News]:
    """Compute one task in this process."""
    device = choose_device(execution.device)
    with thread_count(execution.threads):
        try:
            every = execution.checkpoint_seconds
            for news in train_run(
                task.spec, data, device, task.checkpoint, checkpoint_seconds=every, stop=stop
            ):
                if isinstance(news, RunResult):
                    threads = torch.get_num_threads()
                    yield RunFinished(result=news, device=str(device), threads=threads)
                else:
                    yield news
        except (DivergedError, DeviceMemoryError) as error:
            yield RunFailure(reason=str(error))
