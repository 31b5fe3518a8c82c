"""The study folder, written: begun, grown, and filled run by run."""

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import safetensors.torch

from tiebreak.data.dataset import ImageDataset, facts_of
from tiebreak.data.facts import few_val_images
from tiebreak.errors import StudyError
from tiebreak.files import atomic_write
from tiebreak.results.run import History
from tiebreak.sealed import SCHEMA_VERSION, digest, write_sealed
from tiebreak.study.growth import first_difference, only_grows, seeds_seen, tell_added, utc_now
from tiebreak.study.lock import HOLDER, LOCK, study_lock
from tiebreak.study.plan import Contender, Study
from tiebreak.study.record import DataFacts, Environment, RunRecord, SeedsAdded, StudyHeader
from tiebreak.study.store import CHECKPOINT, PREDICTIONS, RUN, WEIGHTS, StoredStudy, read_study, run_place
from tiebreak.training.run import RunResult

# As atomic_write names what it has not finished.
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")


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


def begin_study(
    folder: Path,
    study: Study,
    data: DataFacts,
    environment: Environment,
    seeds_added: tuple[SeedsAdded, ...] = (),
) -> StoredStudy:
    """Make the folder for a study, or open it if it already holds this very study. The lock must be held.

    `seeds_added`: what is to be told if the study is new in this folder, or has more seeds than what is
    there. If nothing is given, runs without identity count.

    Raises: StudyError if it holds another study, or other data, or cannot be written.
    """
    header = StudyHeader(
        study=study, data=data, environment=environment, created=utc_now(), seeds_added=seeds_added
    )
    if not (folder / "study.json").exists():
        check_place(folder)
        remove_leftovers(folder)
        try:
            write_sealed(folder / "study.json", header)
        except OSError as error:
            raise StudyError(f"{folder} cannot be written: {error.strerror or error}.") from None
        return StoredStudy(folder=folder, header=header, runs={c.label: {} for c in study.contenders})
    stored = read_study(folder)
    same_data = stored.header.data.fingerprint == data.fingerprint
    if same_data and only_grows(stored.study, study):
        unnamed = {
            label: {seed: run for seed, run in by_seed.items() if run.identity is None}
            for label, by_seed in stored.runs.items()
        }
        added = seeds_added or tell_added(seeds_seen(unnamed), study, stored.header.seeds_added)
        write_sealed(folder / "study.json", _as_of_now(stored.header, {"study": study, "seeds_added": added}))
        return read_study(folder)
    if stored.study.identity != study.identity:
        difference = first_difference(stored.study.model_dump(mode="json"), study.model_dump(mode="json"))
        raise StudyError(f"{folder} holds another study ({difference}); choose another --out.")
    if not same_data:
        raise StudyError(
            f"{folder} was begun on other images: fingerprint {stored.header.data.fingerprint[:12]}, "
            f"now {data.fingerprint[:12]}. Choose another --out."
        )
    remove_leftovers(folder)
    return stored


def _as_of_now(header: StudyHeader, changes: Mapping[str, object]) -> StudyHeader:
    return header.model_copy(update={"schema_version": SCHEMA_VERSION, **changes})


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
            difference = first_difference(header.study.model_dump(mode="json"), now)
            raise StudyError(f"{folder} holds another study ({difference}); choose another --out.")
        grown = header.study.model_copy(update={"contenders": tuple(merged.values())})
        if grown.identity != header.study.identity:
            write_sealed(folder / "study.json", _as_of_now(header, {"study": grown}))
    among = set(study.seeds) <= set(grown.seeds)
    return grown if among else grown.model_copy(update={"seeds": study.seeds})


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that died left behind: files it had not finished, checkpoints of ended runs.

    The lock must be held: nobody else writes.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            if TEMPORARY.fullmatch(name) or (name == CHECKPOINT and "run.json" in names):
                Path(place, name).unlink(missing_ok=True)


def forget_run(folder: Path, label: str, seed: int) -> None:
    """Remove the record of a run that failed, so that it is trained again.

    Raises: StudyError if the folder cannot be written.
    """
    with writing(folder):
        (folder / run_place(label, seed) / RUN).unlink(missing_ok=True)


def write_run(
    folder: Path,
    contender: Contender,
    seed: int,
    result: RunResult,
    device: str,
    threads: int,
    identity: str | None = None,
) -> RunRecord:
    """Store a finished run; run.json comes last.

    Raises: StudyError if the folder cannot be written.
    """
    predictions = io.BytesIO()
    np.savez(predictions, **vars(result.predictions))
    # Cloned, because the format refuses tensors that share memory, as tied weights do.
    weights = {name: tensor.clone() for name, tensor in result.weights.items()}
    record = RunRecord(
        contender=contender.label,
        seed=seed,
        status="finished",
        history=result.history,
        kept_epoch=result.kept_epoch,
        test_loss=result.test_loss,
        test_acc=result.test_acc,
        cost=result.cost,
        timing=result.timing,
        device=device,
        threads=threads,
        resumed_inexactly=result.resumed_inexactly,
        micro_batches=result.micro_batches,
        placement=result.placement,
        identity=identity,
        machine=result.machine,
    )
    return write_record(
        folder, record, {PREDICTIONS: predictions.getvalue(), WEIGHTS: safetensors.torch.save(weights)}
    )


def write_failed_run(
    folder: Path,
    contender: Contender,
    seed: int,
    reason: str,
    identity: str | None = None,
    history: History | None = None,
) -> RunRecord:
    """Store that a run failed, and why, with its curves until then.

    Raises: StudyError if the folder cannot be written.
    """
    record = RunRecord(
        contender=contender.label,
        seed=seed,
        status="failed",
        reason=reason,
        identity=identity,
        history=history,
    )
    return write_record(folder, record, {})


def write_record(folder: Path, record: RunRecord, files: Mapping[str, bytes]) -> RunRecord:
    """Store the files of a run that has ended, and its record last.

    Raises: StudyError if the folder cannot be written.
    """
    target = folder / run_place(record.contender, record.seed)
    digests = {name: digest(content) for name, content in files.items()}
    record = record.model_copy(update={"files": digests, "stored": utc_now()})
    with writing(folder):
        for name, content in files.items():
            with atomic_write(target / name) as file:
                file.write(content)
        write_sealed(target / RUN, record)
        (target / CHECKPOINT).unlink(missing_ok=True)
    return record


def write_checkpoint(folder: Path, label: str, seed: int, content: bytes) -> None:
    """Store where a run stands, in place of its last checkpoint.

    Raises: StudyError if the folder cannot be written.
    """
    with writing(folder), atomic_write(folder / run_place(label, seed) / CHECKPOINT) as file:
        file.write(content)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
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
