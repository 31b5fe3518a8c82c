"""Runs one after another, in this process."""

from collections.abc import Iterator, Sequence

from tiebreak.data.dataset import ImageDataset
from tiebreak.study.plan import Execution
from tiebreak.study.where.task import News, RunId, Task, compute
from tiebreak.training.run import NEVER, Stop


def run_in_series(
    tasks: Sequence[Task], data: ImageDataset, execution: Execution, stop: Stop = NEVER
) -> Iterator[tuple[RunId, News]]:
    """Compute the tasks in the order given; gives news as it comes.

    Raises: TiebreakError from a run's own code.
    """
    for task in tasks:
        if stop.is_set():
            return
        for news in compute(task, data, execution, stop):
            yield task.run, news
