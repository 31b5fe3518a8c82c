"""Where a study's runs are computed: here (serial), in worker processes, or on Ray.

An executor takes tasks and gives back news; it writes no files in the study's folder. What tasks and news
hold is nothing to it, as long as it can be pickled.

Stopping: the driver hands a `stop` down (anything with `is_set()`), which every run looks at after each
batch. Once it is set, a run gives its last `Checkpoint` and ends without `RunFinished`; the executor begins
no further task, passes on the news of those under way until each has ended, and ends. (Ray cannot tell its
tasks, and cancels them: they go on from the checkpoint before.) Closing the generator stops all at once.
"""

from collections.abc import Iterator, Sequence

from tiebreak.data.dataset import ImageDataset
from tiebreak.study.plan import Execution
from tiebreak.study.where.fork_server import has_early_server
from tiebreak.study.where.machine import choose_workers, this_machine
from tiebreak.study.where.processes import run_in_processes
from tiebreak.study.where.ray import run_on_ray
from tiebreak.study.where.serial import run_in_series
from tiebreak.study.where.task import News, RunId, Task
from tiebreak.training.placement.device import choose_device
from tiebreak.training.run import NEVER, Stop


def execute(
    tasks: Sequence[Task], data: ImageDataset, execution: Execution, stop: Stop = NEVER
) -> Iterator[tuple[RunId, News]]:
    """Compute the tasks where `execution` says; gives each one's news as it happens.

    The results do not depend on the executor.

    Raises: TiebreakError if the device or Ray is not there, or from a run itself.
    """
    if execution.executor == "ray":
        yield from run_on_ray(tasks, data, execution, stop)
        return
    workers = 0
    if tasks:
        specs, machine = [task.spec for task in tasks], this_machine(choose_device(execution.device))
        workers = choose_workers(specs, data, execution, machine, early_server=has_early_server())
    if execution.executor == "processes" or workers > 1:
        yield from run_in_processes(tasks, data, execution, workers, stop)
    else:
        yield from run_in_series(tasks, data, execution, stop)
