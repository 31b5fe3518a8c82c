"""From a plan to a full study folder: what is missing is computed, and the driver alone writes."""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tiebreak.data.dataset import ImageDataset
from tiebreak.data.transform import check_transforms
from tiebreak.errors import CheckpointError, StoppedError, StudyError
from tiebreak.study.environment import Environment, describe_environment
from tiebreak.study.lock import study_lock
from tiebreak.study.plan import Contender, Execution, Study
from tiebreak.study.settle import settle_precision
from tiebreak.study.stop import StopRequest
from tiebreak.study.store import (
    RunRecord,
    StoredStudy,
    begin_study,
    check_place,
    data_facts,
    forget_run,
    read_study,
    run_folder,
    stored_checkpoint,
    write_checkpoint,
    write_failed_run,
    write_run,
)
from tiebreak.study.trial import keep_trials, try_run
from tiebreak.study.where.execute import execute
from tiebreak.study.where.task import News, RunFailure, RunFinished, RunId, Task
from tiebreak.training.checkpoint import Checkpoint, Resumed, read_checkpoint
from tiebreak.training.device import choose_device
from tiebreak.training.loop import EpochResult
from tiebreak.training.run import RunProgress, checkpoint_key
from tiebreak.training.spec import RunSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened to a run: it goes on, progress, the end of an epoch, or its end (stored by then)."""

    run: RunId
    news: RunProgress | EpochResult | Resumed | RunRecord


def run_study(
    study: Study,
    data: ImageDataset,
    folder: Path,
    execution: Execution,
    seeds: Collection[int] | None = None,
    stop: StopRequest | None = None,
) -> Iterator[Event]:
    """Train all runs of the study that its folder does not hold yet; gives events as they happen.

    `seeds`: train only these of the plan's seeds now. A run that was under way goes on from its last
    checkpoint. When `stop` is set, what is under way is stored and StoppedError raised.

    Raises: StudyError if the folder holds something else, is in use by another process or cannot be
    written; ModelError or DataError before anything is trained.
    """
    stop = stop or StopRequest()
    val_size = data.val_size(study.data.val_size)
    notes = check_plan(study, data, val_size, execution, folder)
    check_place(folder)
    with study_lock(folder):
        environment = describe_environment()
        stored = begin_study(folder, study, data_facts(data, val_size), environment)
        keep_trials(folder, notes)
        _tell_changes(stored.header.environment, environment)
        execution = settle_precision(execution, stored)
        if execution.retry_failed:
            stored = forget_failed(stored)
        pending = pending_tasks(stored, val_size, data)
        tasks = [task for task in pending if seeds is None or task.run.seed in seeds]
        contenders = {contender.label: contender for contender in study.contenders}
        with stop.gently():
            for run, news in execute(tasks, data, execution, stop):
                kept = _keep(folder, contenders[run.label], run, news)
                if kept is not None:
                    yield Event(run=run, news=kept)
        if stop.is_set():
            raise StoppedError("The study was stopped; what is finished is kept.")


def _keep(
    folder: Path, contender: Contender, run: RunId, news: News
) -> RunProgress | EpochResult | Resumed | RunRecord | None:
    """Store what there is to store; gives what others should hear of, None of a checkpoint."""
    if isinstance(news, Checkpoint):
        write_checkpoint(folder, contender, run.seed, news.content)
        return None
    if isinstance(news, RunFinished):
        return write_run(folder, contender, run.seed, news.result, news.device, news.threads)
    if isinstance(news, RunFailure):
        return write_failed_run(folder, contender, run.seed, news.reason)
    return news


def _tell_changes(before: Environment, now: Environment) -> None:
    """Warn if runs made now are not made as those of the study's beginning were."""
    changed = [
        f"{name} was {getattr(before, name)} and is {getattr(now, name)}"
        for name in ("tiebreak", "torch", "numpy", "processor")
        if getattr(before, name) != getattr(now, name)
    ]
    if changed:
        log.warning("This study was begun elsewhere (%s); equal digits are not promised.", ", ".join(changed))


def check_plan(
    study: Study, data: ImageDataset, val_size: int, execution: Execution, folder: Path
) -> dict[str, tuple[str, ...]]:
    """Try everything that can go wrong before hours of training: device, split, each model.

    Gives what must be known of the models that were tried, in sentences by contender.

    Raises: TiebreakError, DataError or ModelError.
    """
    device = choose_device(execution.device)
    data.split(val_size, seed=0, stratify=study.data.stratify)
    notes = {}
    for contender in study.contenders:
        check_transforms(data, contender.transforms)
        ended = len(list((folder / "runs" / contender.folder).glob("*/run.json")))
        if ended < len(study.seeds) or execution.retry_failed:  # else there is nothing left to train
            spec = make_task(study, contender, study.seeds[0], val_size).spec
            notes[contender.label] = try_run(spec, data, device, execution.precision)
    return notes


def forget_failed(stored: StoredStudy) -> StoredStudy:
    """The study without its failed runs, in its folder too.

    Raises: StudyError if the folder cannot be written.
    """
    for contender in stored.study.contenders:
        for seed, run in stored.runs[contender.label].items():
            if run.status == "failed":
                forget_run(stored.folder, contender, seed)
    return read_study(stored.folder)


def pending_tasks(stored: StoredStudy, val_size: int, data: ImageDataset) -> list[Task]:
    """The runs that have not ended, seed by seed, so that a study that is stopped has whole pairs.

    Runs that were under way are the exception, where several compute at once.

    Raises: StudyError if a run's checkpoint cannot be read or is of something else.
    """
    study = stored.study
    pending = []
    for seed in study.seeds:
        for contender in study.contenders:
            if seed not in stored.runs[contender.label]:
                task = make_task(study, contender, seed, val_size)
                checkpoint = _checkpoint(stored.folder, contender, task, data)
                pending.append(replace(task, checkpoint=checkpoint))
    return pending


def _checkpoint(folder: Path, contender: Contender, task: Task, data: ImageDataset) -> bytes | None:
    content = stored_checkpoint(folder, contender, task.run.seed)
    if content is not None:
        try:
            read_checkpoint(content, checkpoint_key(task.spec, data))
        except CheckpointError as error:
            raise StudyError(f"{run_folder(folder, contender, task.run.seed)}: {error}") from None
    return content


def make_task(study: Study, contender: Contender, seed: int, val_size: int) -> Task:
    """The task that computes one run of a study."""
    return Task(
        run=RunId(label=contender.label, seed=seed, epochs=contender.recipe.epochs),
        spec=RunSpec(
            model=contender.model,
            recipe=contender.recipe,
            seed=seed,
            val_size=val_size,
            stratify=study.data.stratify,
            transforms=contender.transforms,
            train_fraction=contender.train_fraction,
        ),
    )
