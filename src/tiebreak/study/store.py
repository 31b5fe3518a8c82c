"""The study folder: what was planned, on what, where, and each run's outcome. Files are data, never code.

STUDY/study.json                           plan, data, environment
STUDY/runs/<contender>/seed-<n>/run.json   written last: where it stands, the run has ended
                               predictions.npz, weights.safetensors
"""

import json
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import safetensors.torch
from pydantic import ValidationError

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import StudyError
from tiebreak.files import atomic_write
from tiebreak.models.cost import Cost
from tiebreak.study.environment import Environment
from tiebreak.study.plan import Contender, Plan, Study
from tiebreak.training.loop import History
from tiebreak.training.run import Predictions, RunResult, Timing

SCHEMA_VERSION = 1

Record = TypeVar("Record", bound=Plan)


class DataFacts(Plan):
    """What a report must know of the data, so that it needs the data no more."""

    name: str
    fingerprint: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]  # channels, height, width
    train_images: int
    val_images: int  # of the training images, in each run
    test_images: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    verified: bool
    notes: tuple[str, ...]


class StudyHeader(Plan):
    """The content of study.json."""

    schema_version: int = SCHEMA_VERSION
    study: Study
    data: DataFacts
    environment: Environment
    created: str  # ISO 8601, UTC


class RunRecord(Plan):
    """The content of run.json."""

    schema_version: int = SCHEMA_VERSION
    contender: str
    seed: int
    status: Literal["finished", "failed"]
    reason: str | None = None  # why it failed
    history: History | None = None
    test_loss: float | None = None
    test_acc: float | None = None
    cost: Cost | None = None
    timing: Timing | None = None
    device: str | None = None
    threads: int | None = None


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
        contender = next(c for c in self.study.contenders if c.label == label)
        return _read_predictions(run_folder(self.folder, contender, seed) / "predictions.npz")


def data_facts(data: ImageDataset, val_images: int) -> DataFacts:
    """The facts of a loaded data set."""
    return DataFacts(
        name=data.name,
        fingerprint=data.fingerprint,
        class_names=data.class_names,
        image_shape=data.image_shape,
        train_images=len(data.train),
        val_images=val_images,
        test_images=len(data.test),
        mean=data.mean,
        std=data.std,
        verified=data.verified,
        notes=data.notes,
    )


def run_folder(folder: Path, contender: Contender, seed: int) -> Path:
    return folder / "runs" / contender.folder / f"seed-{seed}"


def begin_study(folder: Path, study: Study, data: DataFacts, environment: Environment) -> StoredStudy:
    """Make the folder for a study, or open it if it already holds this very study.

    Raises: StudyError if it holds another study, or other data; OSError if it cannot be written.
    """
    header = StudyHeader(
        study=study,
        data=data,
        environment=environment,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if not (folder / "study.json").exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise StudyError(f"{folder} is not empty and holds no study; choose another --out.")
        _write_json(folder / "study.json", header)
        return StoredStudy(folder=folder, header=header, runs={c.label: {} for c in study.contenders})
    stored = read_study(folder)
    if stored.study.identity != study.identity:
        difference = _first_difference(stored.study.model_dump(mode="json"), study.model_dump(mode="json"))
        raise StudyError(f"{folder} holds another study ({difference}); choose another --out.")
    if stored.header.data.fingerprint != data.fingerprint:
        raise StudyError(
            f"{folder} was begun on other images: fingerprint {stored.header.data.fingerprint[:12]}, "
            f"now {data.fingerprint[:12]}. Choose another --out."
        )
    return stored


def extend_study(folder: Path, study: Study) -> Study:
    """Let the study in a folder grow by the contenders and seeds of `study`; gives what it is then.

    What is there stays: contenders and seeds are only added. An empty folder is left alone.

    Raises: StudyError if data or level differ, or a contender of the same label is another one.
    """
    if not (folder / "study.json").exists():
        return study
    header = read_study(folder).header
    there = {contender.label: contender for contender in header.study.contenders}
    merged = there | {contender.label: contender for contender in study.contenders}
    grown = study.model_copy(
        update={
            "contenders": tuple(merged.values()),
            "seeds": tuple(dict.fromkeys((*header.study.seeds, *study.seeds))),
        }
    )
    same = header.study.model_copy(update={"contenders": tuple(merged[label] for label in there)})
    if same.identity != header.study.identity or (same.data, same.level) != (
        grown.data.model_copy(update={"data_dir": same.data.data_dir}),
        grown.level,
    ):
        difference = _first_difference(
            header.study.model_dump(mode="json"),
            grown.model_copy(update={"contenders": same.contenders, "seeds": same.seeds}).model_dump(
                mode="json"
            ),
        )
        raise StudyError(f"{folder} holds another study ({difference}); choose another --out.")
    if grown.identity != header.study.identity:
        _write_json(folder / "study.json", header.model_copy(update={"study": grown}))
    return grown


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


def write_run(
    folder: Path, contender: Contender, seed: int, result: RunResult, device: str, threads: int
) -> RunRecord:
    """Store a finished run; run.json comes last."""
    target = run_folder(folder, contender, seed)
    with atomic_write(target / "predictions.npz") as file:
        np.savez(file, **vars(result.predictions))
    with atomic_write(target / "weights.safetensors") as file:
        file.write(safetensors.torch.save(result.weights))
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
    )
    _write_json(target / "run.json", record)
    return record


def write_failed_run(folder: Path, contender: Contender, seed: int, reason: str) -> RunRecord:
    """Store that a run failed, and why."""
    record = RunRecord(contender=contender.label, seed=seed, status="failed", reason=reason)
    _write_json(run_folder(folder, contender, seed) / "run.json", record)
    return record


def read_study(folder: Path) -> StoredStudy:
    """Read a study folder; runs that have not ended are left out.

    Raises: StudyError if there is no study, or a file is damaged or of a newer version.
    """
    if not folder.exists():
        raise StudyError(f"{folder}: no such folder. Studies are made by tiebreak compare or tiebreak run.")
    path = folder / "study.json"
    if not path.is_file():
        raise StudyError(f"{folder} holds no study: there is no study.json in it.")
    header = _read_json(path, StudyHeader)
    runs: dict[str, dict[int, RunRecord]] = {}
    for contender in header.study.contenders:
        paths = {seed: run_folder(folder, contender, seed) / "run.json" for seed in header.study.seeds}
        runs[contender.label] = {
            seed: _read_json(path, RunRecord) for seed, path in paths.items() if path.is_file()
        }
    return StoredStudy(folder=folder, header=header, runs=runs)


def _write_json(path: Path, value: Plan) -> None:
    with atomic_write(path) as file:
        file.write(value.model_dump_json(indent=1).encode() + b"\n")


def _read_json(path: Path, kind: type[Record]) -> Record:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("schema_version", 0) > SCHEMA_VERSION:
            raise StudyError(f"{path} was written by a newer tiebreak; update to read it.")
        return kind.model_validate(content)
    except (ValueError, RecursionError) as error:  # JSON, UTF-8 and validation errors are ValueErrors
        where = error.errors()[0]["loc"] if isinstance(error, ValidationError) else error
        raise StudyError(f"{path} is damaged: {where}. Remove it to run this part again.") from None


def _read_predictions(path: Path) -> Predictions:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Predictions(**{name: arrays[name] for name in Predictions.__dataclass_fields__})
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise StudyError(
            f"{path} is missing or damaged: {error}. Remove its folder to run it again."
        ) from None
