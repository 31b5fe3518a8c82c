"""What is computed (a task), what is heard of it (news), and how: the same wherever it is done."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import DeviceMemoryError, DivergedError, ModelError
from tiebreak.study.plan import Execution
from tiebreak.training.checkpoint import Checkpoint, Resumed
from tiebreak.training.loop import EpochResult
from tiebreak.training.placement.device import choose_device, thread_count
from tiebreak.training.run import NEVER, RunProgress, RunResult, Stop, train_run
from tiebreak.training.spec import RunSpec

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
    until: int | None = None  # the epoch after which it is left, with a checkpoint; None: it goes to its end


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


def compute(task: Task, data: ImageDataset, execution: Execution, stop: Stop = NEVER) -> Iterator[News]:
    """Compute one task in this process.

    A run that diverges, does not fit the device's memory or whose model fails has failed; the study goes on.
    """
    epoch = 0
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
                if isinstance(news, EpochResult):
                    epoch = news.epoch
                if isinstance(news, Checkpoint) and epoch == task.until:
                    return
        except (DivergedError, DeviceMemoryError, ModelError) as error:
            yield RunFailure(reason=str(error))


def failure_after_deaths(reason: str) -> RunFailure:
    """The end of a run that has killed its worker as often as it may."""
    # Systems that run out of memory kill by SIGKILL; other signals come from a crash in native code.
    cause = "; too little memory is the usual cause" if reason == "SIGKILL" else ""
    return RunFailure(reason=f"its worker died {MAX_DEATHS} times, last by {reason}{cause}")
