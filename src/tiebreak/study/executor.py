"""Where a study's runs are computed: here (serial), in worker processes, or on Ray.

An executor takes tasks and gives back news; it writes no files in the study's folder. What tasks and news
hold is nothing to it, as long as it can be pickled.

Stopping: the driver hands a `stop` down (anything with `is_set()`), which every run looks at after each
batch. Once it is set, a run gives its last `Checkpoint` and ends without `RunFinished`; the executor begins
no further task, passes on the news of those under way until each has ended, and ends. (Ray cannot tell its
tasks, and cancels them: they go on from the checkpoint before.) Closing the generator stops all at once.
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

MAX_DEATHS = 3  # of a run's workers, until it has failed


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
    """Compute the tasks where `execution` says; gives each one's news as it happens.

    The results do not depend on the executor.

    Raises: TiebreakError if the device or Ray is not there, or from a run itself.
    """
    # The executors are imported when they are used: they need what is defined here, and Ray is an extra.
    if execution.executor == "ray":
        from tiebreak.study.ray_executor import run_on_ray

        yield from run_on_ray(tasks, data, execution, stop)
        return
    from tiebreak.study.resources import choose_workers

    workers = choose_workers([task.spec for task in tasks], data, execution) if tasks else 0
    if execution.executor == "processes" or workers > 1:
        from tiebreak.study.workers import run_in_processes

        yield from run_in_processes(tasks, data, execution, workers, stop)
        return
    for task in tasks:
        if stop.is_set():
            return
        for news in compute(task, data, execution, stop):
            yield task.run, news


def failure_after_deaths(reason: str) -> RunFailure:
    """The end of a run that has killed its worker as often as it may."""
    # Systems that run out of memory kill by SIGKILL; other signals come from a crash in native code.
    cause = "; too little memory is the usual cause" if reason == "SIGKILL" else ""
    return RunFailure(reason=f"its worker died {MAX_DEATHS} times, last by {reason}{cause}")


def compute(task: Task, data: ImageDataset, execution: Execution, stop: Stop = NEVER) -> Iterator[News]:
    """Compute one task in this process."""
    device = choose_device(execution.device)
    with thread_count(execution.threads):
        try:
            for news in train_run(
                task.spec,
                data,
                device,
                task.checkpoint,
                precision=execution.precision,
                checkpoint_seconds=execution.checkpoint_seconds,
                stop=stop,
            ):
                if isinstance(news, RunResult):
                    threads = torch.get_num_threads()
                    yield RunFinished(result=news, device=str(device), threads=threads)
                else:
                    yield news
        except (DivergedError, DeviceMemoryError) as error:
            yield RunFailure(reason=str(error))
