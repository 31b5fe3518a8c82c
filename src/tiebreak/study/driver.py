"""From a plan to a full study folder: what is missing is computed, and the driver alone writes."""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from tiebreak.data.dataset import ImageDataset
from tiebreak.data.transform import check_transforms
from tiebreak.errors import CheckpointError, StoppedError, StudyError, printable
from tiebreak.models.catalog import build_model
from tiebreak.models.source import source_hash
from tiebreak.results.run import History
from tiebreak.rng import global_stream
from tiebreak.study.environment import describe_environment
from tiebreak.study.lock import study_lock
from tiebreak.study.plan import Contender, Execution, Study
from tiebreak.study.record import Environment, RunRecord
from tiebreak.study.reuse import (
    RunKey,
    find_runs,
    put_changed_aside,
    reuse_runs,
    run_identity,
    seeds_added_to,
)
from tiebreak.study.settle import settle
from tiebreak.study.stop import StopRequest
from tiebreak.study.store import StoredStudy, read_study, run_place, stored_checkpoint
from tiebreak.study.trial import try_run
from tiebreak.study.trial_notes import keep_trials
from tiebreak.study.where.execute import execute
from tiebreak.study.where.task import News, RunFailure, RunFinished, RunId, Task
from tiebreak.study.writing import (
    begin_study,
    check_place,
    data_facts,
    forget_run,
    write_checkpoint,
    write_failed_run,
    write_run,
)
from tiebreak.training.checkpoint import Checkpoint, Resumed, read_checkpoint, this_machine
from tiebreak.training.loop import EpochResult, history_of
from tiebreak.training.placement.device import choose_device, thread_count
from tiebreak.training.placement.placement import Machine
from tiebreak.training.placement.precision import choose_placement, choose_precision
from tiebreak.training.run import RunProgress, run_key
from tiebreak.training.spec import RunSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened to a run: it goes on, progress, the end of an epoch, or its end (stored by then)."""

    run: RunId
    news: RunProgress | EpochResult | Resumed | RunRecord
    ended: int  # of the runs asked for, so far, whenever that was


def run_study(
    study: Study,
    data: ImageDataset,
    folder: Path,
    execution: Execution,
    seeds: Collection[int] | None = None,
    stop: StopRequest | None = None,
    studies: Path | None = None,
    until: Mapping[str, int] | None = None,
) -> Iterator[Event]:
    """Train all runs of the study that are neither in its folder nor found beside it; gives events.

    `seeds`: train only these of the plan's seeds now. A run that was under way goes on from its last
    checkpoint. When `stop` is set, what is under way is stored and StoppedError raised. `studies`: the folder
    of study folders to look in, by default the one that `folder` is in. `until`: train only these contenders,
    each up to an epoch; whoever has not come to its end by then keeps a checkpoint.

    Raises: StudyError if the folder holds something else, is in use by another process or cannot be
    written; ModelError or DataError before anything is trained.
    """
    stop = stop or StopRequest()
    val_size = data.val_size(study.data.val_size)
    notes = check_plan(study, data, val_size, execution)
    check_place(folder)
    contenders = {contender.label: contender for contender in study.contenders}
    tasks = plan_tasks(study, val_size)
    identities = {key: run_identity(task.spec, data) for key, task in tasks.items()}
    with study_lock(folder):
        found = find_runs(studies or folder.parent, frozenset(identities.values()))
        seeds_added = seeds_added_to(folder, study, found, identities)
        stored = begin_study(folder, study, data_facts(data, val_size), describe_environment(), seeds_added)
        keep_trials(folder, notes)
        _tell_changes(stored.header.environment, describe_environment())
        stored = put_changed_aside(stored, identities)
        execution = settle(execution, stored, found)
        if execution.retry_failed:
            stored = forget_failed(stored)
        asked = {
            key: task
            for key, task in tasks.items()
            if (seeds is None or key[1] in seeds) and (until is None or key[0] in until)
        }
        pending = {key: task for key, task in asked.items() if key[1] not in stored.runs[key[0]]}
        wanted = {key: identities[key] for key in pending}
        machine_of = cache(lambda label: machine_here(contenders[label], data, execution))
        for record in reuse_runs(folder, wanted, found, machine_of, studies):
            run = pending.pop((record.contender, record.seed)).run
            yield Event(run=run, news=record, ended=len(asked) - len(pending))
        ends = {} if until is None else until
        resumed = [
            _with_checkpoint(folder, task, data, ends.get(task.run.label)) for task in pending.values()
        ]
        with stop.gently():
            for run, news in execute([task for task in resumed if task is not None], data, execution, stop):
                kept = _keep(folder, contenders[run.label], run, news, identities)
                if isinstance(kept, RunRecord):
                    del pending[run.label, run.seed]
                if kept is not None:
                    yield Event(run=run, news=kept, ended=len(asked) - len(pending))
        if stop.is_set():
            raise StoppedError("The study was stopped; what is finished is kept.")


def _keep(
    folder: Path, contender: Contender, run: RunId, news: News, identities: Mapping[RunKey, str]
) -> RunProgress | EpochResult | Resumed | RunRecord | None:
    """Store what there is to store; gives what others should hear of, None of a checkpoint."""
    identity = identities[run.label, run.seed]
    if isinstance(news, Checkpoint):
        write_checkpoint(folder, run.label, run.seed, news.content)
        return None
    if isinstance(news, RunFinished):
        return write_run(folder, contender, run.seed, news.result, news.device, news.threads, identity)
    if isinstance(news, RunFailure):
        history = _history_so_far(folder, run)
        return write_failed_run(folder, contender, run.seed, news.reason, identity, history)
    return news


def _history_so_far(folder: Path, run: RunId) -> History | None:
    """The curves of a run that has failed, up to its last checkpoint; None if none can be read."""
    content = stored_checkpoint(folder, run.label, run.seed)
    if content is None:
        return None
    try:
        epochs = read_checkpoint(content, {})[0].epochs
    except CheckpointError:
        return None
    return history_of(list(epochs)) if epochs else None


def _tell_changes(before: Environment, now: Environment) -> None:
    """Warn if runs made now are not made as those of the study's beginning were."""
    changed = [
        f"{name} was {getattr(before, name)} and is {getattr(now, name)}"
        for name in ("tiebreak", "torch", "numpy", "processor")
        if getattr(before, name) != getattr(now, name)
    ]
    if changed:
        told = printable(", ".join(changed))  # of a file that may be a stranger's
        log.warning("This study was begun elsewhere (%s); equal digits are not promised.", told)


def check_plan(
    study: Study, data: ImageDataset, val_size: int, execution: Execution
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
        spec = make_task(study, contender, study.seeds[0], val_size).spec
        notes[contender.label] = try_run(spec, data, device, execution.precision)
    return notes


def machine_here(contender: Contender, data: ImageDataset, execution: Execution) -> Machine:
    """How a contender's runs would be computed here and now."""
    device = choose_device(execution.device)
    precision = choose_precision(execution.precision, device)
    with thread_count(execution.threads), global_stream(0, "check"):
        model = build_model(contender.model, data.image_shape, data.num_classes)
        return this_machine(device, choose_placement(model, data.image_shape, device, precision))


def forget_failed(stored: StoredStudy) -> StoredStudy:
    """The study without its failed runs, in its folder too.

    Raises: StudyError if the folder cannot be written.
    """
    for label, runs in stored.runs.items():
        for seed, run in runs.items():
            if run.status == "failed":
                forget_run(stored.folder, label, seed)
    return read_study(stored.folder)


def plan_tasks(study: Study, val_size: int) -> dict[RunKey, Task]:
    """All runs of a study, seed by seed, so that a study that is stopped has whole pairs.

    Runs that were under way are the exception, where several compute at once.

    Raises: ModelError if a model's source cannot be read.
    """
    sources = {contender.model: source_hash(contender.model) for contender in study.contenders}
    return {
        (contender.label, seed): make_task(study, contender, seed, val_size, sources[contender.model])
        for seed in study.seeds
        for contender in study.contenders
    }


def _with_checkpoint(folder: Path, task: Task, data: ImageDataset, until: int | None = None) -> Task | None:
    """The task with where its run stands, if that is of a model with the code of today.

    `until`: the epoch after which it is to be left; None if it has come so far already.

    Raises: StudyError if the checkpoint cannot be read or is of something else.
    """
    if until is not None and until < task.run.epochs:
        task = replace(task, until=until)
    run, key = task.run, run_key(task.spec, data)
    content = stored_checkpoint(folder, run.label, run.seed)
    if content is None:
        return task
    try:
        source = key.pop("source")
        header, _ = read_checkpoint(content, key)
    except CheckpointError as error:
        raise StudyError(f"{folder / run_place(run.label, run.seed)}: {error}") from None
    if header.run.get("source") != source:
        log.warning("%s, seed %s: its model's code has changed; begun anew.", run.label, run.seed)
        return task
    if task.until is not None and len(header.epochs) >= task.until:
        return None
    return replace(task, checkpoint=content)


def make_task(
    study: Study, contender: Contender, seed: int, val_size: int, source: str | None = None
) -> Task:
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
            redraw=contender.redraw,
            part=(study.seeds.index(seed), len(study.seeds)) if study.vary == "disjoint" else None,
            source=source,
        ),
    )
