"""Runs that are there already: found by what their results depend on, and used again, not trained anew."""

import logging
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import StudyError
from tiebreak.files import read_plain_file
from tiebreak.models.catalog import is_builtin
from tiebreak.sealed import canonical, digest, read_sealed
from tiebreak.study.growth import seeds_seen, tell_added
from tiebreak.study.plan import Study
from tiebreak.study.record import RunRecord, SeedsAdded, StudyHeader
from tiebreak.study.store import PREDICTIONS, RUN, WEIGHTS, StoredStudy, read_study, run_place
from tiebreak.study.writing import write_record, writing
from tiebreak.training.placement.placement import Machine
from tiebreak.training.run import run_key
from tiebreak.training.spec import RunSpec

IDENTITY = re.compile(rb'"identity": "([0-9a-f]{64})"')

# Where runs lie among study folders: those of searches, too.
PLACES = (
    "*/runs/*/*/run.json",
    "*/earlier/*/*/run.json",
    "*/searches/*/runs/*/*/run.json",
    "*/redrawn/runs/*/*/run.json",
)

log = logging.getLogger(__name__)

RunKey = tuple[str, int]  # label and seed


@dataclass(frozen=True, kw_only=True)
class FoundRun:
    """A finished run in some study folder."""

    study: Path
    place: PurePath  # in that folder
    record: RunRecord


def run_identity(spec: RunSpec, data: ImageDataset) -> str:
    """A hash of all that a run's result depends on beside the machine; other contenders are nothing to it."""
    return digest(canonical(run_key(spec, data)))


def find_runs(studies: Path, identities: Collection[str]) -> list[FoundRun]:
    """The finished runs of these identities in the study folders of a folder; damaged ones are left out."""
    found = []
    for path in sorted(path for pattern in PLACES for path in studies.glob(pattern)):
        study = path.parents[3]
        place = path.parent.relative_to(study)
        if study.is_symlink() or not _is_ours(study):
            continue
        try:
            identity = IDENTITY.search(read_plain_file(study, place / RUN) or b"")
            if identity and identity[1].decode() in identities:
                record = read_sealed(study, place / RUN, RunRecord, "It is not used again.")
                if record and record.status == "finished" and record.identity in identities:
                    found.append(FoundRun(study=study, place=place, record=record))
        except StudyError as error:
            log.info("%s", error)
    return found


def _is_ours(folder: Path) -> bool:
    """Whether this user made a folder; in one for all, such as /tmp, others may lay out what they like."""
    return os.name != "posix" or folder.stat().st_uid == os.geteuid()


def seeds_added_to(
    folder: Path, study: Study, found: Iterable[FoundRun], identities: Mapping[RunKey, str]
) -> tuple[SeedsAdded, ...]:
    """What is to be told of a study in `folder` that has more seeds than one whose runs it shares."""
    runs: dict[Path, dict[str, dict[int, RunRecord]]] = defaultdict(lambda: defaultdict(dict))
    for run in found:
        for (label, seed), identity in identities.items():
            if identity == run.record.identity:
                runs[run.study][label][seed] = run.record
    if not runs:
        return ()
    nearest = max(runs, key=lambda place: (seeds_seen(runs[place]), place == folder))
    try:
        header = read_sealed(nearest, "study.json", StudyHeader, "What it tells of added seeds is lost.")
    except StudyError as error:
        log.warning("%s", error)
        header = None
    return tell_added(seeds_seen(runs[nearest]), study, header.seeds_added if header else ())


def put_changed_aside(stored: StoredStudy, identities: Mapping[RunKey, str]) -> StoredStudy:
    """Move the runs of models whose code has changed since out of the way, so that they are trained anew.

    They go to the folder `earlier`, where they are found again if the code is changed back.

    Raises: StudyError if the folder cannot be written.
    """
    for contender in stored.study.contenders:
        changed = []
        for seed, run in stored.runs[contender.label].items():
            # What an earlier tiebreak trained has no identity: that is believed of the built-in models, and
            # cannot be of a user's.
            unknown = run.identity is None and not is_builtin(contender.model)
            if unknown or run.identity not in (None, identities[contender.label, seed]):
                _put_aside(stored.folder, contender.label, seed, run.identity or "unknown")
                changed.append(str(seed))
        if changed:
            log.warning(
                "%s: its model's code has changed since seed %s; training anew (what was there is in %s).",
                contender.label,
                ", ".join(changed),
                stored.folder / "earlier",
            )
    return read_study(stored.folder)


def _put_aside(folder: Path, label: str, seed: int, identity: str) -> None:
    place = run_place(label, seed)
    target = folder / "earlier" / place.parent.name / f"{place.name}-{identity[:8]}"
    with writing(folder):
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        (folder / place).rename(target)


def reuse_runs(
    folder: Path,
    wanted: Mapping[RunKey, str],
    found: Iterable[FoundRun],
    machine_of: Callable[[str], Machine],
    studies: Path | None = None,
) -> Iterator[RunRecord]:
    """Copy what is found of some runs into a study folder, where training would give the very same bytes.

    Arguments: `wanted` - identities by label and seed; `machine_of` - how a contender would be computed now;
    `studies` - the folder in which they were found, by default the one that `folder` is in.

    Raises: StudyError if the folder cannot be written.
    """
    missing, studies = dict(wanted), studies or folder.parent
    for run in found:
        for key in [key for key, identity in missing.items() if identity == run.record.identity]:
            if run.record.resumed_inexactly or run.record.machine != machine_of(key[0]):
                break
            files = _whole_files(run)
            if not files:
                break
            del missing[key]
            origin = run.record.reused_from or (run.study.relative_to(studies) / run.place).as_posix()
            changes = {"contender": key[0], "seed": key[1], "reused_from": origin, "tuned": None}
            yield write_record(folder, run.record.model_copy(update=changes), files)


def _whole_files(run: FoundRun) -> dict[str, bytes]:
    """The files beside a run's record; none if one is not what was stored."""
    files = {}
    for name in (PREDICTIONS, WEIGHTS):
        try:
            content = read_plain_file(run.study, run.place / name)
        except StudyError as error:
            log.info("%s It is not used again.", error)
            return {}
        if content is None or digest(content) != run.record.files.get(name):
            log.info("%s is not what was stored. It is not used again.", run.study / run.place / name)
            return {}
        files[name] = content
    return files
