"""Results from files and arrays that were made elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from tiebreak.errors import EvidenceError, did_you_mean
from tiebreak.results.align import Aligned, align
from tiebreak.results.arrays import ARRAYS, read_arrays
from tiebreak.results.classes import Classes, as_probabilities, find_classes
from tiebreak.results.columns import Columns, guess_columns
from tiebreak.results.names import FileName, read_names
from tiebreak.results.pickled import PICKLED, refuse_pickle
from tiebreak.results.raw import (
    TRUTHS,
    Labels,
    Raw,
    as_labels,
    in_fold,
    join_folds,
    runs_of_arrays,
    runs_of_table,
)
from tiebreak.results.results import ContenderRuns, Examples, Measure, Pairing, Results, Rule
from tiebreak.results.run import Run
from tiebreak.results.tables import TABLES, has_header, read_table


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a user says of files beside their names; all of it may be left open."""

    columns: Columns = field(default_factory=Columns)
    labels: Path | None = None
    pattern: str | None = None
    classes: tuple[str, ...] = ()
    pairing: Pairing = Pairing.UNPAIRED  # claims less than paired seeds do
    lower_is_better: bool = False
    common_only: bool = False
    checkpoints: bool = False  # single runs are what is asked about
    level: float = 0.95
    equivalence: float | None = None
    superiority: float | None = None
    baseline: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """Results, and what was taken for what, in one line."""

    results: Results
    told: str


def results_of_files(paths: Sequence[Path], reading: Reading) -> tuple[Told, ...]:
    """What files of predictions hold, a data set each.

    Raises: EvidenceError if a file cannot be read, or does not tell who predicted what.
    """
    labels = None if reading.labels is None else read_labels(reading.labels, reading.columns)
    runs: list[Raw] = []
    told: list[str] = []
    columns = reading.columns if labels is None else replace(reading.columns, truth=None)
    for path, name in zip(paths, read_names(paths, reading.pattern), strict=True):
        found, words = read_runs(path, name, columns, labels, reading.lower_is_better)
        runs += found if name.fold is None else [in_fold(run, name.fold) for run in found]
        told.append(words)
    runs = join_folds(runs)
    source = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"
    return results_of_runs(runs, labels, reading, source=source, told="; ".join(dict.fromkeys(told)))


def read_labels(path: Path, columns: Columns) -> Labels:
    """The true labels of a file of their own.

    Raises: EvidenceError if it holds none.
    """
    if path.suffix.lower() in ARRAYS:
        arrays = read_arrays(path)
        found = [key for key in ("", *TRUTHS) if key in arrays] or list(arrays)[:1]
        if not found:
            raise EvidenceError(f"{path} holds no labels.")
        return Labels(source=str(path), truth=as_labels(np.asarray(arrays[found[0]]), str(path)))
    frame = _table(path)
    if frame.width == 1:
        return Labels(source=str(path), truth=frame.to_series())
    given = Columns(
        **{
            role: column
            for role in ("example", "truth", "group")
            if (column := getattr(columns, role)) in frame.columns
        }
    )
    found_columns = guess_columns(frame, given, str(path), labels_apart=False)
    truth = found_columns.truth or found_columns.prediction
    if truth is None:
        left = [name for name in frame.columns if name not in (found_columns.example, found_columns.group)]
        if len(left) != 1:
            raise EvidenceError(
                f"{path} does not tell which of its columns {', '.join(frame.columns[:20])} is the label; "
                "say --label."
            )
        truth = left[0]
    return Labels(
        source=str(path),
        truth=frame[truth],
        examples=frame[found_columns.example] if found_columns.example else None,
        groups=frame[found_columns.group] if found_columns.group else None,
    )


def _table(path: Path) -> pl.DataFrame:
    if path.suffix.lower() in PICKLED:
        raise refuse_pickle(path)
    if path.suffix.lower() not in TABLES:
        raise EvidenceError(
            f"{path} is of a kind that is not read; write CSV, Parquet, JSON Lines or NPZ "
            f"({', '.join((*TABLES, *ARRAYS))} are read)."
        )
    return read_table(path)


def read_runs(
    path: Path, name: FileName, columns: Columns, labels: Labels | None, lower: bool
) -> tuple[list[Raw], str]:
    source, count = str(path), None if labels is None else len(labels.truth)
    if path.suffix.lower() in ARRAYS:
        runs = runs_of_arrays(read_arrays(path), name, source, count)
        if lower:
            runs = [replace(run, score=None if run.score is None else -run.score) for run in runs]
        return runs, "model and seed by file and array names"
    frame = _table(path)
    if not has_header(frame):
        array = frame.to_numpy()
        if frame.width == 1:
            array = array[:, 0]
        return runs_of_arrays(
            {"": array}, name, source, count
        ), "one answer a line, model and seed by file names"
    runs, found = runs_of_table(frame, name, columns, source, labels_apart=labels is not None, lower=lower)
    words = found.told()
    if found.model is None:
        seed_told = found.seed is not None or found.repeat is not None
        words = f"model{'' if seed_told else ' and seed'} by file names, {words}"
    return runs, words


def results_of_runs(
    runs: Sequence[Raw], labels: Labels | None, reading: Reading, *, source: str, told: str
) -> tuple[Told, ...]:
    """Put runs in line and judge what they hold, a data set each.

    Raises: EvidenceError if runs come twice, or cannot be put in line.
    """
    if labels is not None and all(run.score is not None or run.correct is not None for run in runs):
        told += f"; {labels.source} is not needed"
        labels = labels if labels.groups is not None else None
    scores = [run.score for run in runs if run.score is not None]
    if len(scores) == len(runs) and all(bool(np.isin(score, (0, 1)).all()) for score in scores):
        runs = [replace(run, correct=score == 1, score=None) for run, score in zip(runs, scores, strict=True)]
    by_dataset: dict[str, list[Raw]] = {}
    for run in runs:
        by_dataset.setdefault(run.dataset or "", []).append(run)
    return tuple(
        Told(results=_results(of_one, labels, reading, name, source), told=told)
        for name, of_one in by_dataset.items()
    )


def _results(runs: Sequence[Raw], labels: Labels | None, reading: Reading, name: str, source: str) -> Results:
    by_model = _by_model(runs)
    if reading.baseline is not None and reading.baseline not in by_model:
        raise EvidenceError(
            f'the baseline "{reading.baseline}" is no contender. {did_you_mean(reading.baseline, by_model)}'
        )
    kinds = {_measure(run) for run in runs}
    if len(kinds) > 1:
        raise EvidenceError(
            f"{source}: some runs tell {' and others '.join(sorted(kinds))}; judge one kind at a time."
        )
    measure = kinds.pop()
    pairing = Pairing.FOLDS if any(run.folds is not None for run in runs) else reading.pairing
    notes: list[str] = []
    if _apart(by_model):
        contenders = []
        for model, seeds in by_model.items():
            own = align(list(seeds.values()), labels, common_only=reading.common_only)
            part, examples = _contenders({model: seeds}, own, measure, reading, name, notes)
            contenders.append(replace(part[0], own=examples))
        notes.append(
            "contenders were tested on different examples: they are compared as independent samples."
        )
        pairing = Pairing.UNPAIRED
    else:
        every = [run for seeds in by_model.values() for run in seeds.values()]
        lined = align(every, labels, common_only=reading.common_only)
        contenders, examples = _contenders(by_model, lined, measure, reading, name, notes)
    if len(by_model) > 1 and max(map(len, by_model.values())) == 1 and pairing is not Pairing.FOLDS:
        about = "asked about" if reading.checkpoints else "judged by --checkpoints"
        notes.append(f"one run each says nothing about other seeds; these very checkpoints are {about}.")
    rule = Rule(
        seeds=tuple(sorted(set.intersection(*(set(seeds) for seeds in by_model.values())))),
        level=reading.level,
        equivalence=reading.equivalence,
        superiority=reading.superiority,
        baseline=reading.baseline,
        pairing=pairing,
        checkpoints=reading.checkpoints,
    )
    return Results(
        source=source,
        examples=examples,
        rule=rule,
        contenders=tuple(contenders),
        notes=tuple(dict.fromkeys(notes)),
        measure=measure,
    )


def _by_model(runs: Sequence[Raw]) -> dict[str, dict[int, Raw]]:
    by_model: dict[str, dict[int, Raw]] = {}
    for run in runs:
        seeds = by_model.setdefault(run.model, {})
        if run.seed in seeds:
            raise EvidenceError(
                f"{run.source} and {seeds[run.seed].source} are both {run.model}, seed {run.seed}; tell "
                'them apart by --pattern "{model}_seed{seed}.csv", or by columns (--model and --seed).'
            )
        seeds[run.seed] = run
    return by_model


def _measure(run: Raw) -> Measure:
    if run.prediction is not None or run.probs is not None:
        return Measure.CLASSES
    return Measure.CORRECTNESS if run.correct is not None else Measure.SCORES


def _apart(by_model: Mapping[str, Mapping[int, Raw]]) -> bool:
    """Whether no two contenders share an example, by their ids."""
    ids = [next(iter(seeds.values())).examples for seeds in by_model.values()]
    if len(ids) < 2 or any(series is None for series in ids):
        return False
    texts = [series.cast(pl.String).unique() for series in ids if series is not None]
    return pl.concat(texts).n_unique() == sum(map(len, texts))


def _contenders(
    by_model: Mapping[str, Mapping[int, Raw]],
    lined: Aligned,
    measure: Measure,
    reading: Reading,
    name: str,
    notes: list[str],
) -> tuple[list[ContenderRuns], Examples]:
    where = lined.runs[0].source
    notes += lined.notes
    images = len(lined.runs[0])
    if measure is Measure.CLASSES:
        if lined.truth is None:
            raise EvidenceError(f"{where} holds predictions without true labels; give them by --labels FILE.")
        classes = _classes(lined, reading, where)
        notes += classes.notes
        truth = classes.encode(lined.truth, "the labels")
        names = classes.names
    else:
        classes, truth = None, np.ones(images, dtype=np.int64)
        names = ("wrong", "right")
    examples = Examples(
        name=name or "judged", class_names=names, truth=truth, ids=lined.ids, groups=lined.groups
    )
    found = iter(lined.runs)
    contenders = [
        ContenderRuns(
            label=model,
            runs={seed: _run(next(found), seed, classes, notes) for seed in seeds},
            failed={},
        )
        for model, seeds in by_model.items()
    ]
    ordered = [replace(c, runs=dict(sorted(c.runs.items()))) for c in contenders]
    return ordered, examples


def _classes(lined: Aligned, reading: Reading, where: str) -> Classes:
    assert lined.truth is not None
    widths = {run.probs.shape[1] for run in lined.runs if run.probs is not None}
    if len(widths) > 1:
        raise EvidenceError(
            f"{where}: probabilities are of {' and '.join(map(str, sorted(widths)))} classes."
        )
    named = {run.classes for run in lined.runs if run.classes}
    if len(named) > 1:
        raise EvidenceError(f"{where}: the columns of probabilities are not of the same classes in all runs.")
    names = list(reading.classes) or list(next(iter(named), ()))
    width = next(iter(widths), None)
    if width is not None and names and len(names) != width:
        raise EvidenceError(f"{where}: {len(names)} classes are named for {width} columns of probabilities.")
    predictions = [run.prediction for run in lined.runs if run.prediction is not None]
    if names and all(text.isdecimal() for text in names) and not reading.classes:
        names = [] if names == [str(number) for number in range(len(names))] else names
    return find_classes(lined.truth, predictions, names, width, where)


def _run(raw: Raw, seed: int, classes: Classes | None, notes: list[str]) -> Run:
    where = f"{raw.model}, seed {seed} ({raw.source})"
    if raw.score is not None:
        if not np.isfinite(raw.score).all():
            bad = int((~np.isfinite(raw.score)).sum())
            raise EvidenceError(f"{where}: {bad:,} of {len(raw.score):,} scores are missing or not finite.")
        return Run(
            seed=seed, answers=np.zeros(len(raw.score), dtype=np.int64), scores=raw.score, folds=raw.folds
        )
    if classes is None:
        assert raw.correct is not None
        return Run(seed=seed, answers=raw.correct.astype(np.int64), folds=raw.folds)
    probs, note = (None, None) if raw.probs is None else as_probabilities(raw.probs, where)
    if note is not None:
        notes.append(note)
    if raw.prediction is not None:
        answers = classes.encode(raw.prediction, where)
        if probs is not None:
            other = int((probs[np.arange(len(answers)), answers] < probs.max(axis=1)).sum())
            if other:
                notes.append(
                    f"{where}: {other:,} predictions are not the likeliest class; the predictions count."
                )
    else:
        assert raw.probs is not None
        answers = raw.probs.argmax(axis=1)
    return Run(seed=seed, answers=answers, probs=probs, folds=raw.folds)
