"""Results as one file for other tools: a table with a row for each answer, or an array for each contender."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from tiebreak.errors import EvidenceError
from tiebreak.files import atomic_write
from tiebreak.results.results import Measure, Results

TABLES = (".csv", ".tsv", ".parquet", ".jsonl")


def export_results(results: Results, path: Path) -> None:
    """Write all runs; `tiebreak judge` reads the file and comes to the same numbers.

    A table has the columns model, seed, example and label, prediction, prob_CLASS (or correct, or score); an
    archive (.npz) one array (seeds, images[, classes]) a contender, and labels.

    Raises: EvidenceError for another kind of file, or an archive of runs that differ in number or images;
    OSError if it cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in (*TABLES, ".npz"):
        raise EvidenceError(f"{path}: export writes {', '.join((*TABLES, '.npz'))}.")
    if suffix == ".npz":
        arrays = dict(_arrays(results))
        with atomic_write(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        return
    frame = pl.concat(list(_frames(results)))
    with atomic_write(path) as file:
        if suffix == ".parquet":
            frame.write_parquet(file)
        elif suffix == ".jsonl":
            frame.write_ndjson(file)
        else:
            frame.write_csv(file, separator="\t" if suffix == ".tsv" else ",")


def _frames(results: Results) -> Iterator[pl.DataFrame]:
    for contender in results.contenders:
        examples = results.examples_of(contender.label)
        names = np.array(examples.class_names)
        ids = np.arange(len(examples.truth)) if examples.ids is None else examples.ids.astype(str)
        for seed, run in contender.runs.items():
            columns: dict[str, object] = {
                "model": np.full(len(ids), contender.label),
                "seed": np.full(len(ids), seed),
                "example": ids,
            }
            if run.folds is not None:
                columns["fold"] = run.folds
            if examples.groups is not None:
                columns["group"] = examples.groups.astype(str)
            if run.scores is not None:
                columns["score"] = run.scores
            elif results.measure is Measure.CORRECTNESS:
                columns["correct"] = run.correct(examples.truth)
            else:
                columns |= {"label": names[examples.truth], "prediction": names[run.answers]}
                if run.probs is not None:
                    columns |= {
                        f"prob_{name}": run.probs[:, k] for k, name in enumerate(examples.class_names)
                    }
            yield pl.DataFrame(columns)


def _arrays(results: Results) -> Iterator[tuple[str, np.ndarray]]:
    if results.measure is not Measure.CLASSES or any(contender.own for contender in results.contenders):
        raise EvidenceError("an archive is for classes on the same images; export .csv or .parquet.")
    for contender in results.contenders:
        runs = list(contender.runs.values())
        probs = [run.probs for run in runs if run.probs is not None]
        yield contender.label, np.stack(probs if len(probs) == len(runs) else [run.answers for run in runs])
    yield "labels", results.examples.truth
