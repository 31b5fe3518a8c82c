"""What stays open until a study meets its folder and its machine, and is then the same for all its runs."""

import os
from collections.abc import Iterable

from tiebreak.errors import StudyError
from tiebreak.study.plan import Execution
from tiebreak.study.reuse import FoundRun
from tiebreak.study.store import StoredStudy
from tiebreak.study.where.machine import this_machine
from tiebreak.training.placement.device import choose_device
from tiebreak.training.placement.precision import choose_precision

MOST_THREADS = 4  # that one run is given unasked; a step on small images has little work for more


def settle(execution: Execution, stored: StoredStudy, found: Iterable[FoundRun]) -> Execution:
    """The execution with everything decided that all runs of a study must share.

    `found`: runs of the plan in other folders, which will be used again.

    Raises: StudyError if runs are there in another number format than the one asked for.
    """
    return settle_threads(settle_precision(execution, stored), stored, found)


def settle_threads(execution: Execution, stored: StoredStudy, found: Iterable[FoundRun]) -> Execution:
    """The execution with the threads of a run decided, where the user did not: those of the runs that are
    there, else an equal share of the cores, one at least.

    The plan decides and not the moment, since another number of threads gives other last digits. So the
    cores are shared by all runs of the plan, also by those that end early.
    """
    if "threads" in execution.model_fields_set or execution.executor == "ray":
        return execution
    runs = [run for by_seed in stored.runs.values() for run in by_seed.values()]
    runs += [run.record for run in found]
    threads = next((run.threads for run in runs if run.threads is not None), None)
    if threads is None:
        machine = this_machine(choose_device(execution.device))
        # Who sets OMP_NUM_THREADS has said how much of the machine is for this process.
        cores = min(machine.cores, float(os.environ.get("OMP_NUM_THREADS") or machine.cores))
        share = int(cores // (len(stored.study.contenders) * len(stored.study.seeds)))
        threads = max(1, min(share, MOST_THREADS)) if machine.kind == "cpu" else 1
    return execution.model_copy(update={"threads": threads})


def settle_precision(execution: Execution, stored: StoredStudy) -> Execution:
    """The execution with its number format decided: that of the runs that are there, else as chosen here.

    Runs in different formats differ by more than their contenders do, and other machines that compute a
    part of the study must not choose for themselves.

    Raises: StudyError if runs are there in another format than the one asked for.
    """
    runs = [run for by_seed in stored.runs.values() for run in by_seed.values()]
    used = next((run.placement.precision for run in runs if run.placement is not None), None)
    if used is not None and execution.precision not in ("auto", used):
        raise StudyError(
            f"{stored.folder} holds runs in {used}, asked for was {execution.precision}; "
            "leave out --precision or choose another --out."
        )
    decided = used or choose_precision(execution.precision, choose_device(execution.device))
    return execution.model_copy(update={"precision": decided})
