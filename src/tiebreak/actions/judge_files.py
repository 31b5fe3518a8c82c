"""`tiebreak judge`: predictions that were made elsewhere, from files or arrays to a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tiebreak.actions.judge import Verdicts, judge_results
from tiebreak.actions.judge import judge as judge_folder
from tiebreak.errors import EvidenceError, did_you_mean
from tiebreak.evidence.compare.datasets import MeanRanks, OverDatasets, judge_datasets, mean_ranks
from tiebreak.results.arrays import ARRAYS
from tiebreak.results.columns import Columns
from tiebreak.results.foreign import Reading, Told, read_labels, read_runs, results_of_files, results_of_runs
from tiebreak.results.kept import default_folder, is_kept, keep_results
from tiebreak.results.names import FileName
from tiebreak.results.raw import Labels, Raw, as_labels, runs_of_arrays, runs_of_table
from tiebreak.results.results import Pairing
from tiebreak.results.tables import TABLES

MANY = 6  # data sets: with more, they are a sample of data sets, and mean ranks say something
RENAMED = {"truth": "label", "group": "groups"}  # columns by the names of their options
COLUMNS = {RENAMED.get(entry.name, entry.name): entry.name for entry in fields(Columns)}
ROLES = COLUMNS.keys() - {"probs", "classes"}
RULE = {"level", "equivalence", "superiority", "baseline", "lower_is_better", "checkpoints", "pattern"}


@dataclass(frozen=True, kw_only=True, repr=False)
class OverAll:
    """Verdicts on several data sets, and on all of them together."""

    by_dataset: dict[str, Verdicts]
    over: tuple[OverDatasets, ...]
    ranks: MeanRanks | None  # with many data sets and 3 contenders or more

    def __str__(self) -> str:
        texts = [f"{name}\n{verdicts}" for name, verdicts in self.by_dataset.items()]
        return "\n".join([*texts, *(pair.sentence for pair in self.over)])

    __repr__ = __str__  # at a prompt and in a notebook, where arrays of answers would fill pages


def judge(
    what: Any, *, labels: Any = None, out: Path | str | None = None, **settings: Any
) -> Verdicts | OverAll:
    """Judge a study folder, files of predictions, or arrays and data frames by contender.

    Arguments: `what` - a folder of a study or of results that were judged; a file or a list of files; or
    {"resnet": array, "vit": array} with arrays of shape (seeds, images, classes), (images, classes), (seeds,
    images) or (images,), data frames with a row for each image, or files; `labels` - the true labels: an
    array, or a file; `out` - the folder to keep the results in; `settings` - as on the command line: seeds
    ("paired" or "unpaired"), level, equivalence, superiority, baseline, pattern, classes, common,
    checkpoints, lower_is_better, and the columns of tables: model, seed, example, label, prediction, correct,
    score, groups, dataset, fold, repeat.

    Raises: EvidenceError if a setting is wrong or the files or arrays do not tell who predicted what;
    StudyError if a study folder is damaged.
    """
    if isinstance(what, str | Path) and is_folder_of_results(Path(what)):
        return judge_folder(what)
    reading = make_reading(settings)
    if isinstance(what, Mapping):
        told = results_of_arrays(what, labels, reading)
    else:
        paths = [Path(what)] if isinstance(what, str | Path) else [Path(path) for path in what]
        if labels is not None and not isinstance(labels, str | Path):
            raise EvidenceError(
                "labels of files come from a file; for an array of labels give arrays by contender."
            )
        told = results_of_files(
            find_files(paths), replace(reading, labels=None if labels is None else Path(labels))
        )
    return judge_told(told, None if out is None else Path(out))


def is_folder_of_results(path: Path) -> bool:
    """Whether it is a study folder or one of results that were judged, not one of files of predictions."""
    return (path / "study.json").is_file() or is_kept(path)


def make_reading(settings: Mapping[str, Any]) -> Reading:
    """What a user says of files, by the names of the command line's options.

    Raises: EvidenceError for an unknown or wrong setting.
    """
    known = ROLES | RULE | {"seeds", "classes", "common"}
    unknown = next((name for name in settings if name not in known), None)
    if unknown is not None:
        raise EvidenceError(f'judge knows no setting "{unknown}". {did_you_mean(unknown, known)}')
    given = {name: value for name, value in settings.items() if value is not None}
    columns = {COLUMNS[name]: given[name] for name in ROLES & given.keys()}
    pairing = given.get("seeds", Pairing.UNPAIRED)
    if pairing not in (Pairing.PAIRED, Pairing.UNPAIRED):
        raise EvidenceError(f"--seeds must be paired or unpaired, got {pairing!r}.")
    classes = given.get("classes", ())
    return Reading(
        columns=Columns(**columns),
        classes=tuple(classes.split(",") if isinstance(classes, str) else classes),
        pairing=Pairing(pairing),
        common_only=bool(given.get("common", False)),
        **{name: given[name] for name in RULE & given.keys()},
    )


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The files of predictions among files and folders.

    Raises: EvidenceError if one does not exist, or a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(
                p for p in path.rglob("*") if p.suffix.lower() in (*TABLES, *ARRAYS) and p.is_file()
            )
            if not inside:
                raise EvidenceError(f"{path} holds no file of predictions ({', '.join((*TABLES, *ARRAYS))}).")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise EvidenceError(f"{path}: no such file.")
    if not found:
        raise EvidenceError("judge needs a file of predictions, a folder of them, or --numbers.")
    return list(dict.fromkeys(found))


def results_of_arrays(what: Mapping[str, Any], labels: Any, reading: Reading) -> tuple[Told, ...]:
    """Results from arrays, data frames or files by contender.

    Raises: EvidenceError if one is neither, or they do not fit together.
    """
    given = _labels(labels, reading)
    count = None if given is None else len(given.truth)
    runs: list[Raw] = []
    told = []
    for model, value in what.items():
        name, source = FileName(model=str(model)), f"{model}"
        if isinstance(value, str | Path):
            found, words = read_runs(Path(value), name, reading.columns, given, reading.lower_is_better)
            runs += [replace(run, model=name.model) for run in found]
            told.append(words)
        elif hasattr(value, "columns"):
            found, columns = runs_of_table(
                _as_polars(value, source),
                name,
                reading.columns,
                source,
                labels_apart=given is not None,
                lower=reading.lower_is_better,
            )
            runs += found
            told.append(columns.told())
        else:
            runs += runs_of_arrays({"": _as_array(value, source)}, name, source, count)
    words = "; ".join(dict.fromkeys(told)) or "arrays by contender"
    return results_of_runs(runs, given, reading, source="arrays", told=words)


def judge_told(told: Sequence[Told], out: Path | None = None) -> Verdicts | OverAll:
    """Judge what was read, a data set each, and keep it in folders.

    Raises: EvidenceError if nothing can be compared; OSError if a folder cannot be written.
    """
    if len(told) == 1:
        return _judge_one(told[0], out)
    verdicts = {
        one.results.examples.name: _judge_one(one, None if out is None else out / one.results.examples.name)
        for one in told
    }
    rankings = {name: found.ranking for name, found in verdicts.items() if found.ranking is not None}
    contenders = {len(ranking.standings) for ranking in rankings.values()}
    many = len(rankings) > MANY and min(contenders) > 2
    ranks = mean_ranks(rankings) if many else None
    if ranks is not None and out is not None:
        from tiebreak.report.figures.ranks import save_mean_ranks  # late: matplotlib

        save_mean_ranks(ranks, out)
    return OverAll(
        by_dataset=verdicts,
        over=judge_datasets(rankings) if len(rankings) == len(verdicts) else (),
        ranks=ranks,
    )


def _judge_one(told: Told, out: Path | None) -> Verdicts:
    folder = out or default_folder(told.results)
    if (folder / "study.json").is_file():
        raise EvidenceError(f"{folder} holds a study; choose another folder by --out.")
    verdicts = judge_results(told.results, folder)
    keep_results(folder, told.results, told.told)
    return replace(verdicts, notes=(f"read as: {told.told}.", *verdicts.notes))


def _labels(labels: Any, reading: Reading) -> Labels | None:
    if labels is None:
        return None
    if isinstance(labels, str | Path):
        return read_labels(Path(labels), reading.columns)
    return Labels(source="labels", truth=as_labels(_as_array(labels, "labels"), "labels"))


def _as_array(value: Any, source: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise EvidenceError(f"{source} is no array: {str(error).splitlines()[0]}.") from None
    if array.dtype.kind == "O":
        texts = [type(entry) for entry in array.ravel()[:1000]]
        if set(texts) == {str}:
            return array.astype(str)
        raise EvidenceError(f"{source} is an array of Python objects; give classes, probabilities or scores.")
    return array


def _as_polars(value: Any, source: str) -> pl.DataFrame:
    import narwhals as nw

    try:
        frame = nw.from_native(value, eager_only=True)
    except TypeError as error:
        raise EvidenceError(f"{source} is no data frame: {str(error).splitlines()[0]}.") from None
    columns = {}
    for name in frame.columns:
        column = frame[name]
        numbers = column.dtype.is_numeric() and not column.is_null().any()
        columns[str(name)] = pl.Series(column.to_numpy() if numbers else column.to_list())
    return pl.DataFrame(columns)
