"""One run as a file tells it, before runs are put in line: the table's rows or the array's slices of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from tiebreak.errors import EvidenceError
from tiebreak.results.columns import Columns, as_correctness, guess_columns
from tiebreak.results.names import FileName

UNKNOWN_SEED = 0  # of a run that does not say which it is


@dataclass(frozen=True, kw_only=True, eq=False)
class Raw:
    """What is told of one run, each part with one entry an example; None where it is not told."""

    source: str
    model: str
    seed: int
    dataset: str | None = None
    examples: pl.Series | None = None  # their ids; None: by order
    truth: pl.Series | None = None
    prediction: pl.Series | None = None
    probs: np.ndarray | None = None  # [example, class]
    classes: tuple[str, ...] = ()  # whose probabilities those are
    correct: np.ndarray | None = None
    score: np.ndarray | None = None
    groups: pl.Series | None = None
    folds: np.ndarray | None = None

    def __len__(self) -> int:
        parts = (self.prediction, self.probs, self.correct, self.score)
        return next(len(part) for part in parts if part is not None)


def in_fold(run: Raw, fold: int) -> Raw:
    """A run of which a file holds one fold of a cross-validation."""
    return run if run.folds is not None else replace(run, folds=np.full(len(run), fold))


def join_folds(runs: Sequence[Raw]) -> list[Raw]:
    """The same with the folds of each contender and seed, which came in a file each, put together."""
    by_run: dict[tuple[str, int, str | None], list[Raw]] = {}
    joined: list[Raw] = []
    for run in runs:
        if run.folds is None or len(np.unique(run.folds)) > 1:
            joined.append(run)
        else:
            by_run.setdefault((run.model, run.seed, run.dataset), []).append(run)
    for parts in by_run.values():
        series, arrays = ("examples", "truth", "prediction", "groups"), ("probs", "correct", "score", "folds")
        whole: dict[str, Any] = {}
        for name in (*series, *arrays):
            values = [getattr(part, name) for part in parts]
            if all(value is not None for value in values):
                whole[name] = pl.concat(values) if name in series else np.concatenate(values)
        joined.append(replace(parts[0], **whole))
    return joined


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """The true labels that came in a file of their own."""

    source: str
    truth: pl.Series
    examples: pl.Series | None = None
    groups: pl.Series | None = None


def runs_of_table(
    frame: pl.DataFrame,
    name: FileName,
    given: Columns,
    source: str,
    *,
    labels_apart: bool,
    lower: bool = False,
) -> tuple[list[Raw], Columns]:
    """The runs in a table with a row for each example, of one run or of many; and what its columns are.

    Raises: EvidenceError if the columns do not tell what was answered, or hold what does not belong there.
    """
    columns = guess_columns(frame, given, source, labels_apart=labels_apart)
    _check_answers(columns, frame, source, labels_apart)
    keys = [key for key in (columns.model, columns.seed, columns.repeat, columns.dataset) if key is not None]
    for key in (*keys, columns.example):
        if key is not None and frame[key].null_count():
            raise EvidenceError(f'{source}: "{key}" is empty in {frame[key].null_count():,} rows.')
    parts = frame.partition_by(keys, maintain_order=True) if keys else [frame]
    seeds = _seed_numbers(frame, columns)
    runs = []
    for part in parts:
        model = str(part[columns.model][0]) if columns.model else name.model
        number = name.seed or UNKNOWN_SEED
        key = columns.seed or columns.repeat
        if key is not None:
            number = seeds[part[key][0]]
        dataset = str(part[columns.dataset][0]) if columns.dataset else name.dataset
        run = Raw(source=source, model=model.strip(), seed=number, dataset=dataset)
        runs.append(_fill(run, part, columns, name, lower))
    return runs, columns


def _fill(run: Raw, part: pl.DataFrame, columns: Columns, name: FileName, lower: bool) -> Raw:
    def column(which: str | None) -> pl.Series | None:
        return None if which is None else part[which]

    folds = column(columns.fold)
    if folds is not None:
        folds = folds.cast(pl.String).rank("dense").cast(pl.Int64)
    score = None
    if columns.score is not None:
        score = part[columns.score].cast(pl.Float64).to_numpy() * (-1.0 if lower else 1.0)
    return replace(
        run,
        examples=column(columns.example),
        truth=_first_of_lists(column(columns.truth)),
        prediction=_first_of_lists(column(columns.prediction)),
        probs=_probabilities(part, columns, run.source),
        classes=columns.classes,
        correct=_correct(part, columns, run.source),
        score=score,
        groups=column(columns.group),
        folds=None if folds is None else folds.to_numpy(),
    )


def _check_answers(columns: Columns, frame: pl.DataFrame, source: str, labels_apart: bool) -> None:
    if columns.correct or columns.score:
        return
    listed = ", ".join(frame.columns[:20])
    if not (columns.prediction or columns.probs):
        aggregate = any(re.fullmatch(r"top_?[15](_acc|_err)?", name.lower()) for name in frame.columns)
        if aggregate:
            raise EvidenceError(
                f"{source} holds one number a model, not one answer an example, so nothing can be paired. "
                "Keep "
                "each model's answers (timm: inference.py), or judge the numbers with --numbers."
            )
        hint = (
            f'Does "{columns.truth}" hold the answers? Give the true labels by --labels FILE. '
            if columns.truth
            else ""
        )
        raise EvidenceError(
            f"{source} does not tell what was predicted. {hint}Name the column by --prediction, --correct or "
            f"--score; its columns are {listed}."
        )
    if columns.truth is None and not labels_apart:
        raise EvidenceError(
            f"{source} holds predictions without true labels; give them by --labels FILE, or name their "
            "column "
            f"by --label; its columns are {listed}."
        )


def _seed_numbers(frame: pl.DataFrame, columns: Columns) -> dict[object, int]:
    """A number for each seed: its own, or its place where seeds have names."""
    key = columns.seed or columns.repeat
    if key is None:
        return {}
    values = frame[key].unique(maintain_order=True)
    whole = values.cast(pl.Float64, strict=False)
    if whole.null_count() == 0 and bool(((whole.abs() < 2**53) & (whole == whole.floor())).all()):
        return dict(zip(values.to_list(), whole.cast(pl.Int64).to_list(), strict=True))
    return {value: number for number, value in enumerate(values.to_list())}


def _first_of_lists(values: pl.Series | None) -> pl.Series | None:
    """Of the k most likely classes, the first."""
    if values is not None and isinstance(values.dtype, pl.List):
        return values.list.first()
    return values


def _correct(part: pl.DataFrame, columns: Columns, source: str) -> np.ndarray | None:
    if columns.correct is None:
        return None
    values = as_correctness(part[columns.correct], source)
    if values.null_count():
        raise EvidenceError(f'{source}: "{columns.correct}" is empty in {values.null_count():,} rows.')
    return values.to_numpy()


def _probabilities(part: pl.DataFrame, columns: Columns, source: str) -> np.ndarray | None:
    if not columns.probs:
        return None
    if len(columns.probs) > 1:
        return part.select(columns.probs).cast(pl.Float32).to_numpy()
    lists = part[columns.probs[0]]
    widths = lists.list.len().unique()
    if len(widths) != 1:
        raise EvidenceError(f'{source}: "{columns.probs[0]}" does not list equally many numbers in all rows.')
    return np.asarray(lists.explode().cast(pl.Float32).to_numpy()).reshape(len(lists), -1)


TRUTHS = ("labels", "label", "label_ids", "y_true", "y_test", "targets", "target", "truth", "y", "gt")
ANSWERS = [
    "predictions",
    "prediction",
    "preds",
    "pred",
    "logits",
    "probs",
    "probabilities",
    "proba",
    "y_pred",
    "outputs",
    "output",
    "arr_0",
    "correct",
    "scores",
    "test_probs",
]
IDS = ("ids", "id", "filenames", "filename", "paths", "example_ids", "examples")
LEFT_OUT = ("val_probs", "val_labels", "test_labels", "classes", "class_names", "seeds", "groups")


def runs_of_arrays(
    arrays: dict[str, np.ndarray], name: FileName, source: str, n_labels: int | None
) -> list[Raw]:
    """The runs in a file of arrays: one model's answers, or one array a model.

    Shapes: (seeds, examples, classes), (examples, classes), (seeds, examples), (examples,). `n_labels`: how
    many labels came in a file of their own, which tells seeds from classes.

    Raises: EvidenceError if no array is an answer, or one is of a shape or kind that tells nothing.
    """
    truth = next((arrays[key] for key in (*TRUTHS, "test_labels") if key in arrays), None)
    ids = next((arrays[key] for key in IDS if key in arrays), None)
    answers = {key: array for key, array in arrays.items() if key in ANSWERS or key == ""}
    by_model = {
        key: array
        for key, array in arrays.items()
        if key not in (*ANSWERS, *TRUTHS, *IDS, *LEFT_OUT, "") and array.ndim >= 1
    }
    if len(answers) > 1:
        raise EvidenceError(f"{source}: {' and '.join(answers)} could each be the answers; keep one of them.")
    if not answers and not by_model:
        raise EvidenceError(f"{source} holds no answers; its arrays are {', '.join(arrays) or 'none'}.")
    labels = None if truth is None else as_labels(truth, source)
    count = n_labels if labels is None else len(labels)
    found = {name.model: next(iter(answers.values()))} if answers else by_model
    runs: list[Raw] = []
    for model, array in found.items():
        run = Raw(
            source=source, model=model, seed=name.seed or UNKNOWN_SEED, dataset=name.dataset, truth=labels
        )
        if ids is not None:
            run = replace(run, examples=pl.Series(ids.reshape(-1)))
        slices = _slices(array, count, f"{source}{f', {model}' if not answers else ''}")
        several = len(slices) > 1
        runs += [
            _answer(run, part, number if several else run.seed, count) for number, part in enumerate(slices)
        ]
    return runs


def as_labels(array: np.ndarray, source: str) -> pl.Series:
    """True labels of shape (examples,), (examples, 1), or one-hot (examples, classes).

    Raises: EvidenceError for anything else.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    ones = array.ndim == 2 and array.dtype.kind in "biuf" and bool(np.isin(array, (0, 1)).all())
    if ones and bool((array.sum(axis=1) == 1).all()):  # one-hot
        array = array.argmax(axis=1)
    if array.ndim != 1:
        raise EvidenceError(
            f"{source}: labels must be one a test example, or one-hot; got shape {array.shape}."
        )
    return pl.Series(np.ascontiguousarray(array))


def _slices(array: np.ndarray, count: int | None, where: str) -> Sequence[np.ndarray]:
    """The array of each seed: [example] or [example, class]."""
    if array.dtype.kind not in "biufUS":
        raise EvidenceError(f"{where} holds {array.dtype}, expected classes, probabilities or scores.")
    if array.ndim == 3:
        return list(array)
    if array.ndim == 1:
        return [array]
    if array.ndim == 2:
        rows, width = array.shape
        is_class = array.dtype.kind in "biuUS"
        if count is None or rows == width:
            return list(array) if is_class else [array]
        if rows == count:
            return [array]
        if width == count:
            return list(array)
    raise EvidenceError(
        f"{where} has shape {array.shape}; expected (seeds, examples, classes), (examples, classes), (seeds, "
        f"examples) or (examples,){'' if count is None else f', for {count:,} labels'}."
    )


def _answer(run: Raw, part: np.ndarray, seed: int, count: int | None) -> Raw:
    run = replace(run, seed=seed)
    if part.ndim == 2 and part.shape[1] == 1:  # a probability of class 1, as Keras gives for two classes
        part = part[:, 0]
        if count is not None and part.dtype.kind == "f":
            part = np.stack([1 - part, part], axis=1)
    if part.ndim == 2 and part.dtype.kind in "US":
        raise EvidenceError(f"{run.source} has names of shape {part.shape}; expected one class an example.")
    if part.ndim == 2:
        return replace(run, probs=np.asarray(part, dtype=np.float32))
    if count is None:
        if part.dtype.kind == "b" or (part.dtype.kind in "iu" and bool(np.isin(part, (0, 1)).all())):
            return replace(run, correct=np.asarray(part, dtype=np.bool_))
        if part.dtype.kind == "f":
            return replace(run, score=np.asarray(part, dtype=np.float64))
        raise EvidenceError(f"{run.source} holds classes without true labels; give them by --labels FILE.")
    return replace(run, prediction=pl.Series(np.ascontiguousarray(part)))
