"""The study folder: what was planned, on what, where, and each run's outcome. Files are data, never code.

STUDY/study.json                           plan, data, environment
STUDY/runs/<contender>/seed-<n>/run.json   written last: where it stands, the run has ended
                               predictions.npz, weights.safetensors
                               checkpoint.safetensors   only while the run is under way
STUDY/earlier/                             runs of a model whose code was another one

study.json and run.json carry a checksum of their own content, run.json also one of each file beside it.
"""

import io
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
import safetensors.torch

from tiebreak.data.dataset import ImageDataset, facts_of
from tiebreak.data.facts import few_val_images
from tiebreak.errors import StudyError
from tiebreak.files import atomic_write, read_plain_file, refuse_links
from tiebreak.sealed import SCHEMA_VERSION, digest, read_sealed, write_sealed
from tiebreak.study.environment import Environment
from tiebreak.study.growth import first_difference, only_adds_seeds, seeds_seen, tell_added, utc_now
from tiebreak.study.lock import HOLDER, LOCK, study_lock
from tiebreak.study.plan import Contender, Study, folder_name
from tiebreak.study.reading import parse_predictions, train_again
from tiebreak.study.record import DataFacts, RunRecord, SeedsAdded, StudyHeader, is_complete
from tiebreak.training.run import Predictions, RunResult, accuracy, mean_loss

RUN, PREDICTIONS, WEIGHTS = "run.json", "predictions.npz", "weights.safetensors"
CHECKPOINT = "checkpoint.safetensors"
# As atomic_write names what it has not finished.
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")


@dataclass(frozen=True, kw_only=True)
class StoredStudy:
    """A study folder that was read: the header, and the run records by contender and seed."""

    folder: Path
    header: StudyHeader
    runs: dict[str, dict[int, RunRecord]]
    # Digests of the labels of the runs read so far, and which run had them first: of val a seed, of test all.
    _labels: dict[str, tuple[str, Path]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def study(self) -> Study:
        return self.header.study

    @property
    def is_sealed(self) -> bool:
        """Whether a change of its files would be noticed; not so in what tiebreak 0.1.0 wrote at first."""
        runs = [run for by_seed in self.runs.values() for run in by_seed.values()]
        return self.header.schema_version > 1 and all(run.is_sealed for run in runs)

    def finished(self, label: str) -> dict[int, RunRecord]:
        """The contender's finished runs by seed, in the order of the plan."""
        runs = self.runs[label]
        return {
            seed: runs[seed] for seed in self.study.seeds if seed in runs and runs[seed].status == "finished"
        }

    def predictions(self, label: str, seed: int) -> Predictions:
        """The stored probabilities of one finished run.

        Raises: StudyError if the file is missing or damaged, does not give the accuracy and loss that the
        run's record states, or has other labels than the runs read before.
        """
        data, run = self.header.data, self.runs[label][seed]
        path = self.folder / run_place(label, seed) / PREDICTIONS
        content = self.run_file(label, seed, PREDICTIONS)
        found = parse_predictions(path, content, data.val_images, data.test_images, len(data.class_names))
        for name, measure in (("test_acc", accuracy), ("test_loss", mean_loss)):
            computed, stated = measure(found.test_probs, found.test_labels), getattr(run, name)
            if not math.isclose(
                computed, stated, rel_tol=1e-5, abs_tol=1e-9
            ):  # logarithms differ in rounding
                raise StudyError(
                    f"{path.parent / RUN} states {name} = {stated:.6g}, but {PREDICTIONS} beside it gives "
                    f"{computed:.6g}. {train_again(path.parent)}"
                )
        self._check_labels(f"validation labels of seed {seed}", found.val_labels, path.parent)
        self._check_labels("test labels", found.test_labels, path.parent)
        return found

    def _check_labels(self, what: str, labels: np.ndarray, place: Path) -> None:
        found = digest(labels.tobytes())
        first, where = self._labels.setdefault(what, (found, place))
        if found != first:
            raise StudyError(
                f"{place} and {where} differ in the {what}, so that one of them is of other images. "
                "Remove the wrong one and give the same command to train it again."
            )

    def run_file(self, label: str, seed: int, name: str) -> bytes:
        """The content of a file of a finished run: PREDICTIONS or WEIGHTS.

        Raises: StudyError if it is missing, no plain file, or not what was stored.
        """
        run, place = self.runs[label][seed], run_place(label, seed)
        path = self.folder / place / name
        content = read_plain_file(self.folder, place / name)
        if content is None:
            raise StudyError(f"{path} is missing. {train_again(path.parent)}")
        if run.is_sealed and digest(content) != run.files.get(name):
            raise StudyError(
                f"{path} was changed after {run.stored}, when it was stored. {train_again(path.parent)}"
            )
        return content


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


def run_place(label: str, seed: int) -> PurePath:
    """Where a run's files lie in its study's folder."""
    return PurePath("runs", folder_name(label), f"seed-{seed}")


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
    if same_data and only_adds_seeds(stored.study, study):
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
    folder: Path, contender: Contender, seed: int, reason: str, identity: str | None = None
) -> RunRecord:
    """Store that a run failed, and why.

    Raises: StudyError if the folder cannot be written.
    """
    record = RunRecord(
        contender=contender.label, seed=seed, status="failed", reason=reason, identity=identity
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


def stored_checkpoint(folder: Path, label: str, seed: int) -> bytes | None:
    """The last checkpoint of a run that has not ended; None if there is none.

    Raises: StudyError if it cannot be read.
    """
    return read_plain_file(folder, run_place(label, seed) / CHECKPOINT)


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


def read_study(folder: Path) -> StoredStudy:
    """Read a study folder; runs that have not ended are left out. No code that it names is run.

    Raises: StudyError if there is no study, or a file is damaged, changed, of another version or a link.
    """
    if not folder.exists():
        raise StudyError(f"{folder}: no such folder. Studies are made by tiebreak compare or tiebreak run.")
    refuse_links(folder, "figures")  # which are written there
    header = read_sealed(
        folder,
        "study.json",
        StudyHeader,
        "Give the same command with another --out beside it: finished runs are found and used again.",
    )
    if header is None:
        raise StudyError(f"{folder} holds no study: there is no study.json in it.")
    runs: dict[str, dict[int, RunRecord]] = {}
    for label in (contender.label for contender in header.study.contenders):
        found = {seed: _read_run(folder, label, seed) for seed in header.study.seeds}
        runs[label] = {seed: run for seed, run in found.items() if run is not None}
    return StoredStudy(folder=folder, header=header, runs=runs)


def _read_run(folder: Path, label: str, seed: int) -> RunRecord | None:
    place = run_place(label, seed)
    remedy = train_again(folder / place)
    run = read_sealed(folder, place / RUN, RunRecord, remedy)
    if run is None:
        return None
    path = folder / place / RUN
    if (run.contender, run.seed) != (label, seed):
        raise StudyError(f"{path} is of {run.contender}, seed {run.seed}. {remedy}")
    if run.status == "finished" and not is_complete(run):
        raise StudyError(
            f"{path} is damaged: a finished run needs curves of one length, test_loss, test_acc, cost and "
            f"timing. {remedy}"
        )
    return run
