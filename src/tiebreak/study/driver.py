"""From a plan to a full study folder: what is missing is computed, and the driver alone writes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tiebreak.data.dataset import ImageDataset
from tiebreak.models.catalog import build_model
from tiebreak.rng import global_stream
from tiebreak.study.environment import describe_environment
from tiebreak.study.executor import RunFailure, RunFinished, RunId, Task, execute
from tiebreak.study.plan import Contender, Execution, Study
from tiebreak.study.settle import settle_precision
from tiebreak.study.store import (
    RunRecord,
    StoredStudy,
    begin_study,
    data_facts,
    write_failed_run,
    write_run,
)
from tiebreak.training.device import choose_device
from tiebreak.training.loop import EpochResult
from tiebreak.training.run import RunProgress, RunSpec


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened to a run: progress, the end of an epoch, or its end (stored by then)."""

    run: RunId
    news: RunProgress | EpochResult | RunRecord


def run_study(study: Study, data: ImageDataset, folder: Path, execution: Execution) -> Iterator[Event]:
    """Train all runs of the study that its folder does not hold yet; gives events as they happen.

    Raises: StudyError if the folder holds something else; ModelError or DataError before anything is trained.
    """
    val_size = study.data.val_size or max(1, len(data.train) // 10)
    check_plan(study, data, val_size, execution)
    stored = begin_study(folder, study, data_facts(data, val_size), describe_environment())
    execution = settle_precision(execution, stored)
    contenders = {contender.label: contender for contender in study.contenders}
    for run, news in execute(pending_tasks(stored, val_size), data, execution):
        contender = contenders[run.label]
        if isinstance(news, RunFinished):
            record = write_run(folder, contender, run.seed, news.result, news.device, news.threads)
            yield Event(run=run, news=record)
        elif isinstance(news, RunFailure):
            yield Event(run=run, news=write_failed_run(folder, contender, run.seed, news.reason))
        else:
            yield Event(run=run, news=news)


def check_plan(study: Study, data: ImageDataset, val_size: int, execution: Execution) -> None:
    """Try everything that can go wrong before hours of training: device, split, each model.

    Raises: TiebreakError, DataError or ModelError.
    """
    choose_device(execution.device)
    data.split(val_size, seed=0, stratify=study.data.stratify)
    for contender in study.contenders:
        with global_stream(0, "check"):
            build_model(contender.model, data.image_shape, data.num_classes)


def pending_tasks(stored: StoredStudy, val_size: int) -> list[Task]:
    """The runs that have not ended, seed by seed, so that a study that is stopped has whole pairs."""
    study = stored.study
    return [
        make_task(study, contender, seed, val_size)
        for seed in study.seeds
        for contender in study.contenders
        if seed not in stored.runs[contender.label]
    ]


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
        ),
    )
