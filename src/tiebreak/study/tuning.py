"""Contenders tuned alike: each search is a study of its own, in which a contender's points compete.

STUDY/searches/seed-<n>/         the search of one seed: a study whose contenders are `cnn#1`, `cnn#2`, ...
STUDY/searches/with-seed-<n>-*/  what it chose, trained with the other seeds that share the search
STUDY/runs/                      the best trial of each contender, by validation accuracy

So trials are stored, resumed and used again as runs are. The test images choose nothing.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import CheckpointError, StudyError
from tiebreak.results.run import History, Trial, Tuned, best_epoch
from tiebreak.sealed import read_sealed
from tiebreak.study.driver import Event, check_plan, run_study
from tiebreak.study.environment import describe_environment
from tiebreak.study.growth import only_grows, seeds_seen, tell_added
from tiebreak.study.lock import study_lock
from tiebreak.study.plan import Contender, Execution, Study
from tiebreak.study.record import RunRecord, SeedsAdded, StudyHeader
from tiebreak.study.stop import StopRequest
from tiebreak.study.store import PREDICTIONS, WEIGHTS, StoredStudy, read_study, stored_checkpoint
from tiebreak.study.trial_notes import keep_trials
from tiebreak.study.writing import begin_study, check_place, data_facts, extend_study, write_record
from tiebreak.training.checkpoint import read_checkpoint
from tiebreak.training.loop import history_of
from tiebreak.training.recipe.search import rungs, search_points, survivors
from tiebreak.training.recipe.space import Tuning

SEARCHES = "searches"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A part of the work: whoever is given it must exhaust its events before asking for the next."""

    title: str
    study: Study  # what is trained in it
    events: Iterator[Event]


def run_searches(
    study: Study,
    data: ImageDataset,
    folder: Path,
    execution: Execution,
    seeds: Collection[int] | None = None,
    stop: StopRequest | None = None,
) -> Iterator[Step]:
    """Search for each contender's best recipe, and fill the study's folder with the runs of the best.

    `seeds`: of the plan, those to be there afterwards.

    Raises: as `run_study`.
    """
    tuning, stop = _tuning_of(study), stop or StopRequest()
    val_size = data.val_size(study.data.val_size)
    notes = check_plan(study, data, val_size, execution)
    check_place(folder)
    with study_lock(folder):
        added = _seeds_added(folder, study)
        begin_study(folder, study, data_facts(data, val_size), describe_environment(), added)
        keep_trials(folder, notes)
        for block in study.blocks:
            asked = [seed for seed in block if seeds is None or seed in seeds]
            if not asked:
                continue
            first, place = block[0], folder / SEARCHES / f"seed-{block[0]}"
            search = search_study(study, first)
            yield from _search(search, tuning, data, place, execution, stop, folder.parent)
            found = choose(study, read_study(place), tuning)
            for label, record in found.items():
                _adopt(folder, label, record, read_study(place))
            if others := [seed for seed in asked if seed != first]:
                yield from _train_with(study, found, others, data, folder, execution, stop)


def search_study(study: Study, seed: int) -> Study:
    """The search of one seed: every contender with every point, `cnn#1` to `cnn#T`."""
    tuning = _tuning_of(study)
    points = [
        contender.model_copy(
            update={
                "label": f"{contender.label}#{trial}",
                "recipe": contender.recipe.model_copy(update=point),
                "search": {},
            }
        )
        for contender in study.contenders
        for trial, point in enumerate(search_points(study.space_of(contender), seed, tuning.trials), start=1)
    ]
    return Study(contenders=tuple(points), seeds=(seed,), data=study.data, level=study.level)


def _search(
    search: Study,
    tuning: Tuning,
    data: ImageDataset,
    place: Path,
    execution: Execution,
    stop: StopRequest,
    studies: Path,
) -> Iterator[Step]:
    """Train all points of a search, or by halving fewer and fewer of them further and further."""
    title = f"Search of seed {search.seeds[0]}: "
    search = extend_study(place, search)
    if not tuning.halving:
        events = run_study(search, data, place, execution, stop=stop, studies=studies)
        yield Step(title=f"{title}{tuning.trials} trials each", study=search, events=events)
        return
    going = _trials_by_contender(search)
    ends = {label: rungs(search.contender(f"{label}#1").recipe.epochs, tuning.trials) for label in going}
    for rung in range(max(map(len, ends.values()))):
        until = {
            f"{label}#{trial}": ends[label][min(rung, len(ends[label]) - 1)]
            for label, trials in going.items()
            for trial in trials
        }
        part = search.model_copy(
            update={"contenders": tuple(c for c in search.contenders if c.label in until)}
        )
        events = run_study(search, data, place, execution, stop=stop, studies=studies, until=until)
        epochs = " or ".join(map(str, sorted(set(until.values()))))
        yield Step(title=f"{title}{len(until)} trials up to epoch {epochs}", study=part, events=events)
        stored = read_study(place)
        for label, trials in going.items():
            if rung + 1 < len(ends[label]):
                # At this rung's epoch, whatever came later: asked again, the same trials must go on.
                scores = {
                    trial: _score(stored, f"{label}#{trial}", search.seeds[0], ends[label][rung])
                    for trial in trials
                }
                going[label] = survivors(trials, scores)


def choose(study: Study, stored: StoredStudy, tuning: Tuning) -> dict[str, RunRecord]:
    """The record of each contender's best trial: that of the highest validation accuracy after the last
    epoch, of equal ones that of the lowest loss. If all failed, the first failure.
    """
    (seed,) = stored.study.seeds
    found = {}
    for contender in study.contenders:
        points = search_points(study.space_of(contender), seed, tuning.trials)
        records = {
            trial: stored.runs[f"{contender.label}#{trial}"].get(seed)
            for trial in range(1, tuning.trials + 1)
        }
        finished = {
            trial: record for trial, record in records.items() if record and record.status == "finished"
        }
        tried = tuple(
            _tried(stored, f"{contender.label}#{trial}", point) for trial, point in enumerate(points, start=1)
        )
        if finished:
            last = contender.recipe.epochs
            best = max(finished, key=lambda trial: _score(stored, f"{contender.label}#{trial}", seed, last))
            tuned = Tuned(values=points[best - 1], trial=best, seed=seed, trials=tried)
            found[contender.label] = finished[best].model_copy(update={"tuned": tuned})
        else:
            failed = next(record for record in records.values() if record is not None)
            reason = f"all {tuning.trials} trials failed, the first: {failed.reason}"
            found[contender.label] = failed.model_copy(update={"reason": reason})
    return found


def _score(stored: StoredStudy, label: str, seed: int, epoch: int) -> tuple[float, float]:
    """Validation accuracy and minus the loss after an epoch, or after the best up to it if that is kept.

    A trial that failed before it is the worst.
    """
    history, _ = _trained(stored, label, seed)
    record = stored.runs[label].get(seed)
    stopped_itself = record is not None and record.kept_epoch is not None
    if history is None or (len(history["val_acc"]) < epoch and not stopped_itself):
        return (-1.0, 0.0)
    kept = _kept_index(stored, label, history, epoch)
    return history["val_acc"][kept], -history["val_loss"][kept]


def _kept_index(stored: StoredStudy, label: str, history: History, epoch: int | None = None) -> int:
    """Where the curves of a trial say what its weights reached, had it ended after `epoch`: from 0."""
    if not stored.study.contender(label).recipe.patience:
        return len(history["val_acc"][:epoch]) - 1
    so_far = {curve: values[:epoch] for curve, values in history.items()}  # type: ignore[index]
    return best_epoch(so_far) - 1  # type: ignore[arg-type]


def _trained(stored: StoredStudy, label: str, seed: int) -> tuple[History | None, float]:
    """How far a trial came and in how many seconds: to its end, to its failure, or until it was left behind.

    Raises: StudyError if its checkpoint is damaged.
    """
    record = stored.runs[label].get(seed)
    if record is not None:
        return record.history, record.timing.train_seconds if record.timing else 0.0
    content = stored_checkpoint(stored.folder, label, seed)
    if content is None:
        return None, 0.0
    try:
        epochs = read_checkpoint(content, {})[0].epochs
    except CheckpointError as error:
        raise StudyError(f"{stored.folder}, {label}: {error}") from None
    return history_of(list(epochs)), sum(epoch.train_seconds for epoch in epochs)


def _tried(stored: StoredStudy, label: str, point: dict[str, float]) -> Trial:
    """What is kept of a trial beside the winner."""
    (seed,) = stored.study.seeds
    record, (history, seconds) = stored.runs[label].get(seed), _trained(stored, label, seed)
    failed = record is not None and record.status == "failed"
    last = None if failed or not history or not history["val_acc"] else history
    kept = _kept_index(stored, label, last) if last else 0
    return Trial(
        values=point,
        val_acc=last and last["val_acc"][kept],
        val_loss=last and last["val_loss"][kept],
        test_acc=record.test_acc if record is not None else None,
        epochs=len(history["val_acc"]) if history else 0,
        seconds=seconds,
    )


def _train_with(
    study: Study,
    found: Mapping[str, RunRecord],
    seeds: list[int],
    data: ImageDataset,
    folder: Path,
    execution: Execution,
    stop: StopRequest,
) -> Iterator[Step]:
    """Train what a search has chosen with the other seeds that share it."""
    chosen = {label: record.tuned for label, record in found.items() if record.tuned}
    for label in found.keys() - chosen.keys():
        for seed in seeds:
            write_record(folder, found[label].model_copy(update={"contender": label, "seed": seed}), {})
    if not chosen:
        return
    part = study.model_copy(
        update={
            "contenders": tuple(_at(study.contender(label), tuned) for label, tuned in chosen.items()),
            "seeds": tuple(seeds),
            "tune": None,
            "baseline": None,
            "looks": None,  # which say when to judge, and this is only to be trained
            "equal": None,
            "also_test": (),
        }
    )
    first = next(iter(chosen.values())).seed
    place = folder / SEARCHES / f"with-seed-{first}-{part.identity[:6]}"
    events = run_study(part, data, place, execution, stop=stop, studies=folder.parent)
    yield Step(title=f"What seed {first} chose, with {len(seeds)} further seeds", study=part, events=events)
    stored = read_study(place)
    for label, tuned in chosen.items():
        for record in stored.runs[label].values():
            own = Tuned(values=tuned.values, trial=tuned.trial, seed=tuned.seed, trials=())
            _adopt(folder, label, record.model_copy(update={"tuned": own}), stored)


def _at(contender: Contender, tuned: Tuned) -> Contender:
    recipe = contender.recipe.model_copy(update=dict(tuned.values))
    return contender.model_copy(update={"recipe": recipe, "search": {}})


def _adopt(folder: Path, label: str, record: RunRecord, source: StoredStudy) -> None:
    """Copy a run of a search into the study's own runs, if it is not there yet.

    Raises: StudyError if a file is damaged or the folder cannot be written.
    """
    there = read_study(folder).runs[label].get(record.seed)
    if there is not None and (there.identity, there.tuned) == (record.identity, record.tuned):
        return
    files = {}
    if record.status == "finished":
        files = {
            name: source.run_file(record.contender, record.seed, name) for name in (PREDICTIONS, WEIGHTS)
        }
    write_record(folder, record.model_copy(update={"contender": label}), files)


def _trials_by_contender(search: Study) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for point in search.contenders:
        label, _, trial = point.label.rpartition("#")
        found.setdefault(label, []).append(int(trial))
    return found


def _tuning_of(study: Study) -> Tuning:
    if study.tune is None:
        raise StudyError("this study has nothing to tune; declare a search, as in --tune lr.")
    return study.tune


def _seeds_added(folder: Path, study: Study) -> tuple[SeedsAdded, ...]:
    """What is to be told if this study, with fewer seeds, could be looked at before; here or beside it."""
    nearest: tuple[SeedsAdded, ...] = ()
    seen = 0
    for place in sorted({folder, *(path.parent for path in folder.parent.glob("*/study.json"))}):
        header = read_sealed(place, "study.json", StudyHeader, "") if place.is_dir() else None
        if header is not None and header.study.tune is not None and only_grows(header.study, study):
            count = seeds_seen(read_study(place).runs)
            if count > seen:
                nearest, seen = header.seeds_added, count
    return tell_added(seen, study, nearest)
