"""The study folder: what was planned, on what, where, and each run's outcome. Files are data, never code.

STUDY/study.json                           plan, data, environment
STUDY/runs/<contender>/seed-<n>/run.json   written last: where it stands, the run has ended
                               predictions.npz, weights.safetensors
                               checkpoint.safetensors   only while the run is under way
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.torch
from torch import Tensor

from tiebreak.data.dataset import ImageDataset, facts_of
from tiebreak.data.facts import Count, Facts, Words, few_val_images
from tiebreak.errors import StudyError
from tiebreak.files import atomic_write
from tiebreak.results.run import Cost, History, Timing
from tiebreak.study.environment import Environment
from tiebreak.study.lock import HOLDER, LOCK, study_lock
from tiebreak.study.plan import Contender, Plan, Seed, Study
from tiebreak.study.reading import SCHEMA_VERSION, read_predictions, read_record, read_weights
from tiebreak.training.precision import Placement
from tiebreak.training.run import Predictions, RunResult

CHECKPOINT = "checkpoint.safetensors"
RUN_FILES = ("run.json", "predictions.npz", "weights.safetensors", CHECKPOINT)
# As atomic_write names what it has not finished.
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")


class DataFacts(Facts):
    """What a report must know of the data, so that it needs the data no more."""

    image_shape: tuple[Count, Count, Count]  # channels, height, width
    train_images: Count
    val_images: Count  # of the training images, in each run
    test_images: Count


class SeedsAdded(Plan):
    """Seeds that were added to a study of fixed size after its beginning."""

    before: int
    now: int
    when: str  # ISO 8601, UTC


class StudyHeader(Plan):
    """The content of study.json."""

    schema_version: int = SCHEMA_VERSION
    study: Study
    data: DataFacts
    environment: Environment
    created: str  # ISO 8601, UTC
    seeds_added: tuple[SeedsAdded, ...] = ()


class RunRecord(Plan):
    """The content of run.json."""

    schema_version: int = SCHEMA_VERSION
    contender: Words
    seed: Seed
    status: Literal["finished", "failed"]
    reason: Words | None = None  # why it failed
    history: History | None = None
    test_loss: float | None = None
    test_acc: float | None = None
    cost: Cost | None = None
    timing: Timing | None = None
    device: Words | None = None
    threads: int | None = None
    resumed_inexactly: Words | None = None  # why the last digits may differ from an uninterrupted run's
    micro_batches: int = 1  # that a batch was cut into to fit the device's memory
    placement: Placement | None = None  # number format and memory layout


@dataclass(frozen=True, kw_only=True)
class StoredStudy:
    """A study folder that was read: the header, and the run records by contender and seed."""

    folder: Path
    header: StudyHeader
    runs: dict[str, dict[int, RunRecord]]

    @property
    def study(self) -> Study:
        return self.header.study

    def finished(self, label: str) -> dict[int, RunRecord]:
        """The contender's finished runs by seed, in the order of the plan."""
        runs = self.runs[label]
        return {
            seed: runs[seed] for seed in self.study.seeds if seed in runs and runs[seed].status == "finished"
        }

    def predictions(self, label: str, seed: int) -> Predictions:
        """The stored probabilities of one finished run.

        Raises: StudyError if the file is missing or damaged.
        """
        data = self.header.data
        path = self._run_folder(label, seed) / "predictions.npz"
        return read_predictions(path, data.val_images, data.test_images, len(data.class_names))

    def weights(self, label: str, seed: int) -> dict[str, Tensor]:
        """The stored weights of one finished run.

        Raises: StudyError if the file is missing or damaged.
        """
        return read_weights(self._run_folder(label, seed) / "weights.safetensors")

    def _run_folder(self, label: str, seed: int) -> Path:
        contender = next(c for c in self.study.contenders if c.label == label)
        return run_folder(self.folder, contender, seed)


def data_facts(data: ImageDataset, val_images: int) -> DataFacts:
    """The facts of a loaded data set in a study that keeps so many training images for validation."""
    facts = dict(facts_of(data)) | {"notes": (*data.notes, *few_val_images(val_images))}
    return DataFacts(
        **facts,
        image_shape=data.image_shape,
        train_images=len(data.train),
        val_images=val_images,
        test_images=len(data.test),
    )


def run_folder(folder: Path, contender: Contender, seed: int) -> Path:
    return folder / "runs" / contender.folder / f"seed-{seed}"


def begin_study(folder: Path, study: Study, data: DataFacts, environment: Environment) -> StoredStudy:
    """Make the folder for a study, or open it if it already holds this very study. The lock must be held.

    Raises: StudyError if it holds another study, or other data, or cannot be written.
    """
    header = StudyHeader(
        study=study,
        data=data,
        environment=environment,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if not (folder / "study.json").exists():
        check_place(folder)
        remove_leftovers(folder)
        try:
            _write_json(folder / "study.json", header)
        except OSError as error:
            raise StudyError(f"{folder} cannot be written: {error.strerror or error}.") from None
        return StoredStudy(folder=folder, header=header, runs={c.label: {} for c in study.contenders})
    stored = read_study(folder)
    if stored.header.data.fingerprint == data.fingerprint and _only_adds_seeds(stored.study, study):
        added = SeedsAdded(before=len(stored.study.seeds), now=len(study.seeds), when=header.created)
        marked = {"study": study, "seeds_added": (*stored.header.seeds_added, added)}
        _write_json(folder / "study.json", stored.header.model_copy(update=marked))
        return read_study(folder)
    if stored.study.identity != study.identity:
        difference = _first_difference(stored.study.model_dump(mode="json"), study.model_dump(mode="json"))
        raise StudyError(f"{folder} holds another study ({difference}); choose another --out.")
    if stored.header.data.fingerprint != data.fingerprint:
        raise StudyError(
            f"{folder} was begun on other images: fingerprint {stored.header.data.fingerprint[:12]}, "
            f"now {data.fingerprint[:12]}. Choose another --out."
        )
    remove_leftovers(folder)
    return stored


def _only_adds_seeds(before: Study, now: Study) -> bool:
    """Whether two plans of fixed size differ in nothing but further seeds at the end."""
    same = now.seeds[: len(before.seeds)] == before.seeds and len(now.seeds) > len(before.seeds)
    fixed = before.looks is None and now.looks is None
    return same and fixed and now.model_copy(update={"seeds": before.seeds}).identity == before.identity


def check_place(folder: Path) -> None:
    """Whether a study is in the folder, or one can be begun there.

    Raises: StudyError if it holds something else.
    """
    if (folder / "study.json").exists() or not folder.exists():
        return
    if not folder.is_dir():
        raise StudyError(f"{folder} is a file, expected a folder for the study; choose another --out.")
    # A process that died at the very beginning leaves these.
    harmless = (LOCK, HOLDER, f".{HOLDER}.", ".study.json.")
    if any(not path.name.startswith(harmless) for path in folder.iterdir()):
        raise StudyError(f"{folder} is not empty and holds no study; choose another --out.")


def extend_study(folder: Path, study: Study) -> Study:
    """Let the study in a folder grow by the contenders of `study`; gives the plan to go on with.

    What is there stays. Its seeds stay too if all that are asked for are among them; more seeds are then for
    `begin_study` to add. A folder without a study is left alone.

    Raises: StudyError if anything else differs, or a contender of the same label is another one.
    """
    if not (folder / "study.json").exists():
        return study
    with study_lock(folder):
        header = read_study(folder).header
        there = {contender.label: contender for contender in header.study.contenders}
        merged = there | {contender.label: contender for contender in study.contenders}
        shared = {"seeds": header.study.seeds, "data": header.study.data}
        asked = study.model_copy(update={**shared, "contenders": tuple(merged[label] for label in there)})
        same_images = study.data.model_copy(update={"data_dir": header.study.data.data_dir})
        if asked.identity != header.study.identity or same_images != header.study.data:
            now = asked.model_copy(update={"data": study.data}).model_dump(mode="json")
            difference = _first_difference(header.study.model_dump(mode="json"), now)
            raise StudyError(f"{folder} holds another study ({difference}); choose another --out.")
        grown = header.study.model_copy(update={"contenders": tuple(merged.values())})
        if grown.identity != header.study.identity:
            _write_json(folder / "study.json", header.model_copy(update={"study": grown}))
    among = set(study.seeds) <= set(grown.seeds)
    return grown if among else grown.model_copy(update={"seeds": study.seeds})


def _first_difference(before: object, now: object, path: str = "") -> str:
    """The first place where two JSON values differ, in words; data_dir does not count."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            if before.get(key) != now.get(key) and key != "data_dir":
                return _first_difference(before.get(key), now.get(key), f"{path}.{key}".lstrip("."))
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            if one != other:
                return _first_difference(one, other, f"{path}[{index}]")
    return f"{path} was {json.dumps(before)}, now {json.dumps(now)}"


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that died left behind: files it had not finished, checkpoints of ended runs.

    The lock must be held: nobody else writes.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            if TEMPORARY.fullmatch(name) or (name == CHECKPOINT and "run.json" in names):
                Path(place, name).unlink(missing_ok=True)


def forget_run(folder: Path, contender: Contender, seed: int) -> None:
    """Remove the record of a run that failed, so that it is trained again.

    Raises: StudyError if the folder cannot be written.
    """
    with _writing(folder):
        (run_folder(folder, contender, seed) / "run.json").unlink(missing_ok=True)


def write_run(
    folder: Path, contender: Contender, seed: int, result: RunResult, device: str, threads: int
) -> RunRecord:
    """Store a finished run; run.json comes last.

    Raises: StudyError if the folder cannot be written.
    """
    target = run_folder(folder, contender, seed)
    record = RunRecord(
        contender=contender.label,
        seed=seed,
        status="finished",
        history=result.history,
        test_loss=result.test_loss,
        test_acc=result.test_acc,
        cost=result.cost,
        timing=result.timing,
        device=device,
        threads=threads,
        resumed_inexactly=result.resumed_inexactly,
        micro_batches=result.micro_batches,
        placement=result.placement,
    )
    with _writing(folder):
        with atomic_write(target / "predictions.npz") as file:
            np.savez(file, **vars(result.predictions))
        with atomic_write(target / "weights.safetensors") as file:
            file.write(safetensors.torch.save(result.weights))
        _write_json(target / "run.json", record)
        (target / CHECKPOINT).unlink(missing_ok=True)
    return record


def write_failed_run(folder: Path, contender: Contender, seed: int, reason: str) -> RunRecord:
    """Store that a run failed, and why.

    Raises: StudyError if the folder cannot be written.
    """
    target = run_folder(folder, contender, seed)
    record = RunRecord(contender=contender.label, seed=seed, status="failed", reason=reason)
    with _writing(folder):
        _write_json(target / "run.json", record)
        (target / CHECKPOINT).unlink(missing_ok=True)
    return record


def write_checkpoint(folder: Path, contender: Contender, seed: int, content: bytes) -> None:
    """Store where a run stands, in place of its last checkpoint.

    Raises: StudyError if the folder cannot be written.
    """
    with _writing(folder), atomic_write(run_folder(folder, contender, seed) / CHECKPOINT) as file:
        file.write(content)


def stored_checkpoint(folder: Path, contender: Contender, seed: int) -> bytes | None:
    """The last checkpoint of a run that has not ended; None if there is none.

    Raises: StudyError if it cannot be read.
    """
    path = run_folder(folder, contender, seed) / CHECKPOINT
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror}.") from None


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what the file system says into a study's error, and refuse to write where the study is gone."""
    if not (folder / "study.json").is_file():
        raise StudyError(
            f"{folder} has vanished while the study ran. Bring it back and give the same command to go on."
        )
    try:
        yield
    except OSError as error:
        raise StudyError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}. "
            "What was finished is kept; mend this and give the same command to go on."
        ) from None


def read_study(folder: Path) -> StoredStudy:
    """Read a study folder; runs that have not ended are left out. No code that it names is run.

    Raises: StudyError if there is no study, or a file is damaged, of another version or leads elsewhere.
    """
    if not folder.exists():
        raise StudyError(f"{folder}: no such folder. Studies are made by tiebreak compare or tiebreak run.")
    path = folder / "study.json"
    if not path.is_file():
        raise StudyError(f"{folder} holds no study: there is no study.json in it.")
    _check_inside(folder, [path, folder / "figures"])
    header = read_record(path, StudyHeader)
    runs: dict[str, dict[int, RunRecord]] = {}
    for contender in header.study.contenders:
        runs[contender.label] = {}
        for seed in header.study.seeds:
            run = _read_run(folder, contender, seed)
            if run is not None:
                runs[contender.label][seed] = run
    return StoredStudy(folder=folder, header=header, runs=runs)


def _read_run(folder: Path, contender: Contender, seed: int) -> RunRecord | None:
    target = run_folder(folder, contender, seed)
    if not target.exists():
        return None
    _check_inside(folder, [target / name for name in RUN_FILES])
    path = target / "run.json"
    if not path.is_file():
        return None
    run = read_record(path, RunRecord)
    if (run.contender, run.seed) != (contender.label, seed):
        raise StudyError(f"{path} is of {run.contender}, seed {run.seed}. Remove it to run this part again.")
    if run.status == "finished" and not _is_complete(run):
        raise StudyError(
            f"{path} is damaged: a finished run needs curves of one length, test_loss, test_acc, cost and "
            "timing. Remove it to run this part again."
        )
    return run


def _is_complete(run: RunRecord) -> bool:
    if run.history is None or None in (run.test_loss, run.test_acc, run.cost, run.timing):
        return False
    lengths = {len(run.history[name]) for name in ("train_loss", "train_acc", "val_loss", "val_acc")}
    return len(lengths) == 1 and 0 not in lengths


def _check_inside(folder: Path, paths: list[Path]) -> None:
    """A link in a stranger's study must not make us read or write elsewhere."""
    root = folder.resolve()
    for path in paths:
        if not path.resolve().is_relative_to(root):
            raise StudyError(f"{path} leads out of the study folder; replace the link by what it points to.")


def _write_json(path: Path, value: Plan) -> None:
    with atomic_write(path) as file:
        file.write(value.model_dump_json(indent=1).encode() + b"\n")
