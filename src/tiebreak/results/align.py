"""Runs put in line: the same examples in the same order for all, by their ids or by their order.

Shape letters: M examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Int64

from tiebreak.errors import EvidenceError
from tiebreak.results.classes import class_texts
from tiebreak.results.raw import Labels, Raw


@dataclass(frozen=True, kw_only=True, eq=False)
class Aligned:
    """Runs with the same examples in the same order, their true labels and groups."""

    runs: tuple[Raw, ...]
    truth: pl.Series | None
    ids: np.ndarray | None
    groups: np.ndarray | None
    notes: tuple[str, ...]


def align(runs: Sequence[Raw], labels: Labels | None, *, common_only: bool) -> Aligned:
    """Put runs in line.

    `common_only`: judge only the examples that all have; otherwise a missing one is an error.

    Raises: EvidenceError if examples are missing or come twice, or labels disagree.
    """
    with_ids = [run for run in runs if run.examples is not None]
    if with_ids and len(with_ids) < len(runs):
        without = next(run for run in runs if run.examples is None)
        raise EvidenceError(
            f"{without.source} names no examples and {with_ids[0].source} does; give all of them ids, or "
            "none."
        )
    if with_ids:
        return _by_ids(runs, labels, common_only)
    return _by_order(runs, labels)


def _by_order(runs: Sequence[Raw], labels: Labels | None) -> Aligned:
    lengths = {len(run): run for run in runs}
    if labels is not None and labels.examples is not None and len(labels.truth) != len(runs[0]):
        raise EvidenceError(
            f"{labels.source} names {len(labels.truth):,} examples, {runs[0].source} has {len(runs[0]):,} "
            "answers "
            "without names, so they cannot be put together."
        )
    if labels is not None:
        lengths.setdefault(len(labels.truth), runs[0])
        for run in runs:
            if len(run) != len(labels.truth):
                raise EvidenceError(
                    f"{run.source} has {len(run):,} answers for {len(labels.truth):,} labels of "
                    f"{labels.source}."
                )
    if len(lengths) > 1:
        (m, run), (other, another) = list(lengths.items())[:2]
        raise EvidenceError(
            f"{_name(run)} has {m:,} answers and {_name(another)} {other:,}, without names of the examples; "
            "write an id with each answer."
        )
    truth = _one_truth(runs) if labels is None else labels.truth
    told = [run for run in runs if run.truth is not None]
    checked = len(told) == len(runs)
    note = () if checked else ("examples are matched by their order alone, as nothing names them.",)
    groups = runs[0].groups if labels is None else labels.groups
    return Aligned(
        runs=tuple(runs),
        truth=truth,
        ids=None,
        groups=None if groups is None else groups.to_numpy(),
        notes=note,
    )


def _by_ids(runs: Sequence[Raw], labels: Labels | None, common_only: bool) -> Aligned:
    coded, names = _codes(runs)
    orders, notes = [], []
    for run, codes in zip(runs, coded, strict=True):
        order = np.argsort(codes, kind="stable")
        twice = np.flatnonzero(np.diff(codes[order]) == 0)
        if len(twice):
            raise EvidenceError(
                f"{_name(run)}: example {names[int(codes[order][twice[0]])]} comes twice. If rows are "
                "several runs, "
                "name the column that tells them apart by --seed or --model."
            )
        orders.append(order)
    kept = coded[0][orders[0]]
    for codes, order in zip(coded, orders, strict=True):
        if not np.array_equal(kept, codes[order]):
            kept = np.intersect1d(kept, codes[order], assume_unique=True)
    union = np.unique(np.concatenate([np.unique(np.concatenate(coded))]))
    if len(kept) < len(union):
        notes.append(_missing(runs, coded, names, kept, union, common_only))
    if labels is not None:
        kept, label_rows = _labelled(labels, names, kept, common_only)
    rows = [order[np.isin(codes[order], kept)] for codes, order in zip(coded, orders, strict=True)]
    lined = tuple(_take(run, row) for run, row in zip(runs, rows, strict=True))
    if labels is None:
        truth, groups = _one_truth(lined), lined[0].groups
    else:
        truth = labels.truth[label_rows]
        groups = lined[0].groups if labels.groups is None else labels.groups[label_rows]
    return Aligned(
        runs=lined,
        truth=truth,
        ids=names.gather(kept).to_numpy(),
        groups=None if groups is None else groups.to_numpy(),
        notes=tuple(notes),
    )


def _codes(runs: Sequence[Raw]) -> tuple[list[Int64[np.ndarray, " _"]], pl.Series]:
    """A number for each example, in the order in which they first come; and their names by that number."""
    ids = [run.examples for run in runs if run.examples is not None]
    if len({series.dtype for series in ids}) > 1:
        ids = [class_texts(series) for series in ids]
    every = pl.DataFrame({"id": pl.concat([series.alias("id") for series in ids])})
    names = every.unique(maintain_order=True).with_row_index("code")
    codes = every.join(names, on="id", how="left", maintain_order="left")["code"].cast(pl.Int64).to_numpy()
    ends = np.cumsum([len(series) for series in ids])[:-1]
    return np.split(codes, ends), names["id"]


def _missing(
    runs: Sequence[Raw],
    coded: list[np.ndarray],
    names: pl.Series,
    kept: np.ndarray,
    union: np.ndarray,
    only: bool,
) -> str:
    if not only or len(kept) == 0:
        worst = min(range(len(runs)), key=lambda index: len(coded[index]))
        absent = np.setdiff1d(union, coded[worst])
        raise EvidenceError(
            f"{_name(runs[worst])} has no answer to {len(absent):,} of {len(union):,} examples (such as "
            f"{names[int(absent[0])]}). Those that are missing may be the hard ones: add them, or judge by "
            f"--common only the {len(kept):,} that all have."
        )
    return (
        f"{len(union) - len(kept):,} of {len(union):,} examples are left out: not all have an answer to them."
    )


def _labelled(
    labels: Labels, names: pl.Series, kept: np.ndarray, common_only: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The examples that have a label, and the row of each one's label."""
    if labels.examples is None:
        raise EvidenceError(
            f"{labels.source} does not name the examples, and the answers do; give it the same column of ids."
        )
    theirs, ours = labels.examples, names
    if theirs.dtype != ours.dtype:
        theirs, ours = class_texts(theirs), class_texts(ours)
    frame = pl.DataFrame({"id": theirs}).with_row_index("row")
    if frame["id"].n_unique() < frame.height:
        twice = frame.filter(frame["id"].is_duplicated())["id"][0]
        raise EvidenceError(f"{labels.source}: example {twice} has two labels.")
    wanted = pl.DataFrame({"id": ours.gather(kept), "code": kept})
    found = wanted.join(frame, on="id", how="left", maintain_order="left")
    without = found["row"].null_count()
    if without and (not common_only or without == found.height):
        example = found.filter(found["row"].is_null())["id"][0]
        raise EvidenceError(
            f"{labels.source} has no label for {without:,} of {found.height:,} examples (such as "
            f"{example}); add "
            "them, or judge the others alone by --common."
        )
    found = found.drop_nulls("row")
    return found["code"].to_numpy(), found["row"].to_numpy()


def _take(run: Raw, rows: np.ndarray) -> Raw:
    if np.array_equal(rows, np.arange(len(run))):
        return run

    def pick(part: pl.Series | None) -> pl.Series | None:
        return None if part is None else part[rows]

    def choose(part: np.ndarray | None) -> np.ndarray | None:
        return None if part is None else part[rows]

    return replace(
        run,
        examples=pick(run.examples),
        truth=pick(run.truth),
        prediction=pick(run.prediction),
        groups=pick(run.groups),
        probs=choose(run.probs),
        correct=choose(run.correct),
        score=choose(run.score),
        folds=choose(run.folds),
    )


def _one_truth(runs: Sequence[Raw]) -> pl.Series | None:
    """The labels that all runs agree on; None where none tells them.

    Raises: EvidenceError if two disagree, as they do where the order of examples is not the same.
    """
    told = [run for run in runs if run.truth is not None]
    if not told:
        return None
    texts = [class_texts(run.truth) for run in told if run.truth is not None]
    first = texts[0]
    for run, other in zip(told[1:], texts[1:], strict=True):
        differ = int((first != other).sum())
        if differ:
            raise EvidenceError(
                f"{_name(told[0])} and {_name(run)} have different labels for {differ:,} of {len(first):,} "
                "examples: "
                "they are not the same examples in the same order; write an id with each answer."
            )
    return told[0].truth


def _name(run: Raw) -> str:
    return f"{run.model}, seed {run.seed} ({run.source})"
