"""What trained models answer to further test parts, kept in the study's folder.

STUDY/also/<name>.npz   labels, and of each finished run its class probabilities and the digest of its weights
STUDY/redrawn/also/<name>.npz   the same of the runs on training images that were drawn anew

Shape letters: N images, K classes.
"""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np

from tiebreak.errors import StudyError
from tiebreak.files import atomic_write, read_plain_file
from tiebreak.results.results import Examples, Results
from tiebreak.results.run import Run
from tiebreak.study.plan import folder_name
from tiebreak.study.results import redrawn_study
from tiebreak.study.store import WEIGHTS, StoredStudy

BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def answers_place(name: str) -> PurePath:
    """Where the answers to a test part lie in the study's folder."""
    return PurePath("also", f"{folder_name(name)}.npz")


def run_name(label: str, seed: int) -> str:
    return f"{label}/{seed}"


def read_answers(stored: StoredStudy, name: str) -> dict[str, np.ndarray]:
    """What is kept of a test part: labels, and `<label>/<seed>` with the probabilities of a run whose weights
    are still the same; none if nothing is kept.

    Raises: StudyError if the file is a link or no plain file.
    """
    content = read_plain_file(stored.folder, answers_place(name))
    if content is None:
        return {}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {key: arrays[key] for key in arrays.files}
        runs, digests = found.pop("runs").tolist(), found.pop("weights").tolist()
    except BROKEN:
        return {}  # a damaged file is made again
    there = {
        run_name(label, seed): record.files.get(WEIGHTS)
        for label in stored.runs
        for seed, record in stored.finished(label).items()
    }
    kept = {run: f"probs.{index}" for index, run in enumerate(runs) if there.get(run) == digests[index]}
    return {"labels": found["labels"]} | {run: found[key] for run, key in kept.items() if key in found}


def write_answers(stored: StoredStudy, name: str, answers: dict[str, np.ndarray]) -> None:
    """Keep answers as `read_answers` gives them.

    Raises: StudyError if the folder cannot be written.
    """
    runs = [run for run in answers if run != "labels"]
    digests = [_digest_of(stored, run) for run in runs]
    arrays: dict[str, Any] = {f"probs.{index}": answers[run] for index, run in enumerate(runs)}
    arrays |= {"labels": answers["labels"], "runs": np.array(runs), "weights": np.array(digests)}
    try:
        with atomic_write(stored.folder / answers_place(name)) as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise StudyError(f"{stored.folder} cannot be written: {error.strerror or error}.") from None


def _digest_of(stored: StoredStudy, run: str) -> str:
    label, _, seed = run.rpartition("/")
    return stored.runs[label][int(seed)].files.get(WEIGHTS, "")


def also_results(stored: StoredStudy, results: Results) -> Iterator[tuple[str, Results]]:
    """The study's results on each further test part that all its judged runs have answered."""
    redrawn = redrawn_study(stored)
    for name in stored.study.also_test:
        answers = read_answers(stored, name)
        anew = {} if redrawn is None else read_answers(redrawn, name)
        contenders = tuple(
            replace(
                contender,
                runs=_answered(contender.label, contender.runs, answers),
                redrawn=_answered(contender.label, contender.redrawn, anew),
            )
            for contender in results.contenders
        )
        if "labels" in answers and all(
            each.runs.keys() == has.runs.keys()
            for each, has in zip(contenders, results.contenders, strict=True)
        ):
            yield (
                name,
                replace(
                    results,
                    source=f"{results.source}, {name}",
                    examples=Examples(
                        name=name, class_names=results.examples.class_names, truth=answers["labels"]
                    ),
                    contenders=contenders,
                ),
            )


def _answered(label: str, runs: dict[int, Run], answers: dict[str, np.ndarray]) -> dict[int, Run]:
    """The runs that have answered, with these answers."""
    return {
        seed: Run(
            seed=seed,
            answers=probs.argmax(axis=1),
            probs=probs,
            cost=run.cost,
            timing=run.timing,
            tuned=run.tuned,
        )
        for seed, run in runs.items()
        if (probs := answers.get(run_name(label, seed))) is not None
    }
