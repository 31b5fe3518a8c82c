"""What stays open until a study meets its folder and its machine, and is then the same for all its runs."""

from tiebreak.errors import StudyError
from tiebreak.study.plan import Execution
from tiebreak.study.store import StoredStudy
from tiebreak.training.device import choose_device
from tiebreak.training.precision import choose_precision


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
