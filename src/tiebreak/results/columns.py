"""Which column of a table is what: guessed by its name, told in one line, overruled by the user."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import polars as pl

from tiebreak.errors import EvidenceError, did_you_mean

# What columns are called, in lower case with "_" for all that is neither letter nor digit.
NAMES = {
    "model": "model arch architecture contender classifier learner method system model_name model_id "
    "template",
    "seed": "seed run run_index run_id trial replicate repetition random_state random_seed",
    "repeat": "repeat",
    "fold": "fold cv_fold",
    "dataset": "dataset data_set task benchmark evaluation_name",
    "example": "id image_id example_id example item_id item case_id row_id doc_id sample_id index_id uid "
    "filename "
    "file_name filepath file_path path img_path image_path image img question_id instance_id input_id",
    "truth": "truth target targets y_true true true_label true_class gt gt_label ground_truth groundtruth "
    "actual "
    "label_ids ground_truth_label expected reference_label",
    "prediction": "prediction predictions pred preds y_pred yhat y_hat predicted predicted_label "
    "predicted_class "
    "pred_label pred_class output outputs",
    "correct": "correct is_correct ok right passed hit acc accuracy correctness exact_match value",
    "score": "score scores value metric reward f1 psnr iou dice",
    "group": "group groups group_id cluster cluster_id patient patient_id subject subject_id hospital",
}
EITHER = [
    "label",
    "labels",
    "class",
    "category",
    "index",
    "label_name",
]  # the truth, or, where that lies apart, the answer
LISTS = [
    "probs",
    "probabilities",
    "probability",
    "proba",
    "prob",
    "logits",
    "logit",
    "scores",
    "pred_score",
    "pred_scores",
    "class_scores",
]
PROBS = re.compile(
    r"(?:probs?|probabilit(?:y|ies)|proba|p|conf(?:idence)?|logits?)[_. :\-](.+)", re.IGNORECASE
)
TOP = re.compile(r"(?:index|label|class|pred)_0")  # the first of the k most likely
OUTER = re.compile(r"^(?:evaluation|metrics|scores|score|metadata)\.(?:.*\.)?|\.label$|\.value$")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a table by what they hold; None where it has none."""

    model: str | None = None
    seed: str | None = None
    repeat: str | None = None
    fold: str | None = None
    dataset: str | None = None
    example: str | None = None
    truth: str | None = None
    prediction: str | None = None
    correct: str | None = None
    score: str | None = None
    group: str | None = None
    probs: tuple[str, ...] = ()  # one a class, or a single one of lists
    classes: tuple[str, ...] = ()  # whose probabilities those are, by their names

    def told(self) -> str:
        """In one line: "model = arch, seed = run, example = image_id"."""
        named = [
            (entry.name, getattr(self, entry.name))
            for entry in fields(self)
            if entry.name not in ("probs", "classes") and getattr(self, entry.name)
        ]
        words = [f"{'label' if name == 'truth' else name} = {column}" for name, column in named]
        if self.probs:
            more = f" ... {self.probs[-1]}" if len(self.probs) > 1 else ""
            words.append(f"probabilities = {self.probs[0]}{more}")
        return ", ".join(words)


def guess_columns(frame: pl.DataFrame, given: Columns, source: str, *, labels_apart: bool) -> Columns:
    """What the columns are, with those that the user named as they were named.

    `labels_apart`: the true labels come in a file of their own, so that a column "label" is an answer.

    Raises: EvidenceError if a named column is missing, or two columns could be the same.
    """
    for entry in fields(given):
        named = getattr(given, entry.name)
        for column in (named,) if isinstance(named, str) else named or ():
            if entry.name != "classes" and column not in frame.columns:
                raise EvidenceError(
                    f'{source} has no column "{column}". {did_you_mean(column, frame.columns)}'
                )
    taken = {column for column in vars(given).values() if isinstance(column, str)} | set(given.probs)
    probs, classes = _probabilities(frame, taken) if not given.probs else (given.probs, given.classes)
    free = [column for column in frame.columns if column not in taken and column not in probs]
    found: dict[str, str | None] = {}
    for role in NAMES:
        named = getattr(given, role)
        found[role] = named if named is not None else _called(free, role, source, frame)
    correct = found["correct"]
    if correct is not None and given.correct is None and not _is_correctness(frame[correct]):
        found["correct"] = None  # OpenML calls the true class so
        found["truth"] = found["truth"] or correct
    if "sample_idx" in free:  # of images, but of answers to one question where that has its own column
        role = "seed" if found["example"] else "example"
        found[role] = found[role] or "sample_idx"
    top = [column for column in free if TOP.fullmatch(column)]
    either = [column for column in free if _plain(column) in EITHER] or top
    if labels_apart and probs and either and _falls(frame, probs):
        probs, classes = (), ()  # of the k most likely classes only
    answered = any(found[role] for role in ("prediction", "correct", "score")) or bool(probs)
    if labels_apart and not answered:
        found["prediction"] = _one(either, "prediction", source, frame)
    elif not labels_apart and found["truth"] is None:
        found["truth"] = _one(either, "label", source, frame)
    if labels_apart and given.truth is None:
        found["truth"] = None
    columns = Columns(probs=probs, classes=classes, **found)
    return _one_kind_of_answer(columns, given, frame, labels_apart)


def _one_kind_of_answer(columns: Columns, given: Columns, frame: pl.DataFrame, labels_apart: bool) -> Columns:
    """Classes, right or wrong, or scores: what the user named, else the first of them that is whole."""
    no_classes = replace(columns, prediction=None, probs=(), classes=(), truth=None)
    if given.score and not given.correct:
        return replace(no_classes, correct=None)
    if given.correct:
        return replace(no_classes, score=None)
    if columns.prediction or columns.probs:
        if columns.correct is None or given.prediction or given.probs or labels_apart:
            return replace(columns, correct=None, score=None)
        if columns.truth and (columns.prediction is None or _agrees(columns, frame)):
            return replace(columns, correct=None, score=None)
    if columns.correct:  # also where answers are free text, which is right without being the same text
        return replace(no_classes, score=None)
    return columns


def _agrees(columns: Columns, frame: pl.DataFrame) -> bool:
    """Whether exactly those answers are called right that are the same as the label."""
    assert columns.truth and columns.prediction and columns.correct
    truth, answer = (frame[name] for name in (columns.truth, columns.prediction))
    if isinstance(truth.dtype, pl.List) or isinstance(answer.dtype, pl.List):
        return False
    same = truth.cast(pl.String) == answer.cast(pl.String)
    return bool((same == as_correctness(frame[columns.correct], "")).all())


def _probabilities(frame: pl.DataFrame, taken: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns such as prob_cat, prob_dog or confidence.cat; or one of lists."""
    numeric = [name for name in frame.columns if name not in taken and frame.schema[name].is_numeric()]
    lists = [
        name
        for name in frame.columns
        if name not in taken and _plain(name) in LISTS and isinstance(frame.schema[name], pl.List | pl.Array)
    ]
    if len(lists) == 1:
        return (lists[0],), ()
    by_prefix: dict[str, list[tuple[str, str]]] = {}
    for name in numeric:
        match = PROBS.fullmatch(name)
        if match:
            by_prefix.setdefault(name[: match.start(1)].lower(), []).append((name, match[1]))
    several = [entries for entries in by_prefix.values() if len(entries) > 1]
    if len(several) != 1:
        return (), ()
    columns, classes = zip(*several[0], strict=True)
    return tuple(columns), tuple(classes)


def _falls(frame: pl.DataFrame, probs: tuple[str, ...]) -> bool:
    """Whether the probabilities of every row stand in falling order, as those of the k most likely do."""
    if len(probs) == 1:
        lists = frame[probs[0]].cast(pl.List(pl.Float64))
        return bool((lists == lists.list.sort(descending=True)).all())
    values = frame.select(probs).to_numpy()
    return bool((values[:, 1:] <= values[:, :-1]).all())


def _called(free: list[str], role: str, source: str, frame: pl.DataFrame) -> str | None:
    names = NAMES[role].split()
    exact = [column for column in free if _plain(column) in names]
    exact = [column for column in exact if "." not in column] or exact  # rather than a part of a record
    if not exact and role in ("correct", "score", "truth", "prediction"):
        exact = [column for column in free if _plain(OUTER.sub("", column)) in names and OUTER.search(column)]
    if role == "correct":
        exact = [column for column in exact if _plain(column) == "correct" or _is_correctness(frame[column])]
    if role == "score":
        exact = [column for column in exact if frame.schema[column].is_numeric()]
    return _one(exact, role, source, frame)


def _one(columns: list[str], role: str, source: str, frame: pl.DataFrame) -> str | None:
    if len(columns) < 2:
        return columns[0] if columns else None
    option = "label" if role == "truth" else role
    raise EvidenceError(
        f"{source}: {' and '.join(columns)} could each be the {option}; say --{option} {columns[0]} or "
        "another "
        f"of the columns {', '.join(frame.columns[:20])}."
    )


def _is_correctness(values: pl.Series) -> bool:
    """Whether it says right or wrong: truths, 0 and 1, or words for them."""
    if values.dtype == pl.Boolean:
        return True
    if isinstance(values.dtype, pl.List):
        return False
    return set(values.drop_nulls().unique().head(20).cast(pl.String).str.to_lowercase()) <= set(RIGHT)


RIGHT = {"1": True, "1.0": True, "true": True, "c": True, "yes": True} | dict.fromkeys(
    ("0", "0.0", "false", "i", "no"), False
)


def as_correctness(values: pl.Series, source: str) -> pl.Series:
    """Right or wrong as truths.

    Raises: EvidenceError if a value is neither 0 nor 1, true nor false, C nor I.
    """
    if values.dtype == pl.Boolean:
        return values
    texts = values.cast(pl.String).str.to_lowercase()
    unknown = set(texts.drop_nulls().unique()) - set(RIGHT)
    if unknown:
        raise EvidenceError(
            f'{source}: "{values.name}" must say right or wrong (1 and 0, true and false), got '
            f"{sorted(unknown)[0]!r}; a number of which more is better goes to --score."
        )
    return texts.replace_strict(RIGHT, return_dtype=pl.Boolean)


def _plain(column: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
