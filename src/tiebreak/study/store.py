"""The study folder, read: what was planned, on what, where, and each run's outcome. No code in it is run.

STUDY/study.json                           plan, data, environment
STUDY/runs/<contender>/seed-<n>/run.json   written last: where it stands, the run has ended
                               predictions.npz, weights.safetensors
                               checkpoint.safetensors   only while the run is under way
STUDY/earlier/                             runs of a model whose code was another one

study.json and run.json carry a checksum of their own content, run.json also one of each file beside it.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np

from tiebreak.errors import StudyError, list_some
from tiebreak.files import read_plain_file, refuse_links
from tiebreak.results.run import Predictions, accuracy, mean_loss
from tiebreak.sealed import digest, read_sealed
from tiebreak.study.plan import Study, folder_name
from tiebreak.study.reading import parse_predictions, train_again
from tiebreak.study.record import RunRecord, StudyHeader, is_complete

RUN, PREDICTIONS, WEIGHTS = "run.json", "predictions.npz", "weights.safetensors"
REDRAWN = "redrawn"  # a study in the study's folder: its runs on training images that are drawn anew
CHECKPOINT = "checkpoint.safetensors"


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


def run_place(label: str, seed: int) -> PurePath:
    """Where a run's files lie in its study's folder."""
    return PurePath("runs", folder_name(label), f"seed-{seed}")


def stored_checkpoint(folder: Path, label: str, seed: int) -> bytes | None:
    """The last checkpoint of a run that has not ended; None if there is none.

    Raises: StudyError if it cannot be read.
    """
    return read_plain_file(folder, run_place(label, seed) / CHECKPOINT)


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
        inside = sorted(str(file.parent) for file in folder.glob("*/study.json"))
        hint = f" These hold one: {list_some(inside)}." if inside else ""
        raise StudyError(f"{folder} holds no study: there is no study.json in it.{hint}")
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
