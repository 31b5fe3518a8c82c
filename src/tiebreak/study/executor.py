"""Where a study's runs are computed. An executor takes tasks and gives back news; it writes no files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import DivergedError
from tiebreak.study.plan import Execution
from tiebreak.training.device import choose_device, thread_count
from tiebreak.training.loop import EpochResult
from tiebreak.training.run import RunProgress, RunResult, RunSpec, train_run


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


News = RunProgress | EpochResult | RunFinished | RunFailure


def execute(tasks: Sequence[Task], data: ImageDataset, execution: Execution) -> Iterator[tuple[RunId, News]]:
    """Compute the tasks; gives each one's news as it happens."""
    for task in tasks:
        for news in compute(task, data, execution):
            yield task.run, news


def compute(task: Task, data: ImageDataset, execution: Execution) -> Iterator[News]:
    """Compute one task in this process."""
    device = choose_device(execution.device)
    with thread_count(execution.threads):
        try:
            for news in train_run(task.spec, data, device, execution.precision):
                if isinstance(news, RunResult):
                    threads = torch.get_num_threads()
                    yield RunFinished(result=news, device=str(device), threads=threads)
                else:
                    yield news
        except DivergedError as error:
            yield RunFailure(reason=str(error))
