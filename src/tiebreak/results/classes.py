"""Classes as numbers: labels, predictions and probabilities of files that name or number classes in their
way.

Shape letters: M examples, K classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64

from tiebreak.errors import EvidenceError, did_you_mean, list_some, one_line

SUM_TOLERANCE = 1e-2  # of probabilities that were rounded when they were written
MOST_CLASSES = 100_000


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The names of the classes in the order of their numbers, and what must be known of them."""

    names: tuple[str, ...]
    numbers: dict[str, int]  # from the text of a value to the number of its class
    notes: tuple[str, ...] = ()

    def encode(self, values: pl.Series, where: str) -> Int64[np.ndarray, " M"]:
        """Raises: EvidenceError if a value is empty or no class."""
        texts = class_texts(values)
        if texts.null_count():
            raise EvidenceError(f"{where}: {texts.null_count():,} of {len(texts):,} are empty.")
        codes = texts.replace_strict(self.numbers, default=None, return_dtype=pl.Int64)
        if codes.null_count():
            unknown = str(texts.filter(codes.is_null())[0])
            raise EvidenceError(
                f'{where}: "{one_line(unknown)}" is no class. {did_you_mean(unknown, self.names)}'
            )
        return codes.to_numpy()


def class_texts(values: pl.Series) -> pl.Series:
    """Classes as text, alike whether a file holds 3, 3.0 or "3"."""
    if values.dtype.is_float():
        whole = values.drop_nulls()
        if bool((whole == whole.floor()).all()):
            values = values.cast(pl.Int64, strict=False)
    texts = values.cast(pl.String).str.strip_chars()
    return texts.str.replace(r"^([+-]?\d+)\.0$", "$1")


def find_classes(
    truth: pl.Series, predictions: Iterable[pl.Series], named: Sequence[str], width: int | None, where: str
) -> Classes:
    """All classes of labels and predictions.

    `named`: the classes of the probabilities' columns in their order, or those that the user named; `width`:
    how many columns of probabilities there are, if any.

    Raises: EvidenceError if names and numbers do not fit together.
    """
    of_truth = set(class_texts(truth).drop_nulls().unique())
    answered = set().union(*(class_texts(values).drop_nulls().unique() for values in predictions))
    if not of_truth:
        raise EvidenceError(f"{where}: the labels are all empty.")
    classes = _classes_of(of_truth, answered, named, width, where)
    if note := _strangers(of_truth, answered, classes):
        classes = replace(classes, notes=(*classes.notes, note))
    return classes


def _strangers(of_truth: set[str], answered: set[str], classes: Classes) -> str | None:
    """That answers name what no label does, which may be another word for one of the labels."""
    labelled, given = (
        {classes.numbers[text] for text in texts if text in classes.numbers} for texts in (of_truth, answered)
    )
    if not given - labelled:
        return None
    alone, silent = (
        list_some([classes.names[number] for number in sorted(numbers)])
        for numbers in (given - labelled, labelled - given)
    )
    note = f"predicted though no label has it: {alone}; such answers count as wrong"
    if silent:
        note += f". Never predicted: {silent}. If these are the same class, write it alike"
    return note


def _classes_of(
    of_truth: set[str], answered: set[str], named: Sequence[str], width: int | None, where: str
) -> Classes:
    if named:
        return _among_named(of_truth, answered, list(named), where)
    found = of_truth | answered
    if not all(text.lstrip("-").isdecimal() for text in found):
        if width is not None:
            raise EvidenceError(
                f"{where}: {width} columns of probabilities do not tell whose they are; name the classes in "
                "their order by --classes cat,dog,..."
            )
        return _by_name(of_truth, answered, where)
    numbers = sorted(map(int, found))
    if width is not None and numbers[0] == 1 and numbers[-1] == width:
        names = tuple(str(number) for number in range(1, width + 1))
        note = f"labels count from 1 to {width}: the first column of probabilities is taken for class 1"
        return Classes(names=names, numbers={name: n for n, name in enumerate(names)}, notes=(note,))
    if width is not None and (numbers[0] < 0 or numbers[-1] >= width):
        raise EvidenceError(
            f"{where}: labels go from {numbers[0]} to {numbers[-1]}, but there are probabilities of "
            f"{width} classes."
        )
    _check_shift(of_truth, answered, where)
    top = max(numbers[-1] + 1, width or 0)
    dense = numbers[0] >= 0 and top <= 2 * len(numbers) + 10
    if width is not None or dense:
        names = tuple(str(number) for number in range(top))
    else:
        names = tuple(map(str, numbers))
    if len(names) > MOST_CLASSES:
        raise EvidenceError(
            f"{where}: {len(names):,} classes; are these labels, or numbers to be judged by --score?"
        )
    return Classes(names=names, numbers={name: number for number, name in enumerate(names)})


def _among_named(of_truth: set[str], answered: set[str], named: list[str], where: str) -> Classes:
    numbers = {name: number for number, name in enumerate(named)}
    if len(numbers) < len(named):
        raise EvidenceError(f"{where}: the classes {', '.join(named[:8])} name one twice.")
    strange = sorted((of_truth | answered) - numbers.keys())
    if not strange:
        return Classes(names=tuple(named), numbers=numbers)
    folded = {name.casefold(): number for name, number in numbers.items()}
    if len(folded) == len(named) and all(text.casefold() in folded for text in strange):
        numbers |= {text: folded[text.casefold()] for text in strange}
        return Classes(names=tuple(named), numbers=numbers, notes=(_CASE,))
    everything = of_truth | answered
    if all(text.isdecimal() and int(text) < len(named) for text in everything):
        by_place = {str(number): number for number in range(len(named))}
        return Classes(names=tuple(named), numbers=by_place)
    hint = did_you_mean(strange[0], named)
    raise EvidenceError(f'{where}: "{one_line(strange[0])}" is none of the classes. {hint}')


_CASE = "class names that differ only in upper and lower case are taken as the same"


def _by_name(of_truth: set[str], answered: set[str], where: str) -> Classes:
    if answered and not of_truth & answered:
        folded = {text.casefold() for text in of_truth} & {text.casefold() for text in answered}
        if not folded:
            raise EvidenceError(
                f"{where}: labels such as {min(of_truth)!r} and predictions such as {min(answered)!r} have "
                "no class "
                "in common; write both as the same names or numbers."
            )
    names: dict[str, str] = {}
    for text in (*sorted(of_truth), *sorted(answered)):
        names.setdefault(text.casefold(), text)
    whole = of_truth | answered
    if len({text.casefold() for text in of_truth}) < len(of_truth) or len(names) == len(whole):
        return Classes(names=tuple(sorted(whole)), numbers={t: n for n, t in enumerate(sorted(whole))})
    order = sorted(names.values())
    numbers = {text: order.index(names[text.casefold()]) for text in whole}
    return Classes(names=tuple(order), numbers=numbers, notes=(_CASE,))


def _check_shift(of_truth: set[str], answered: set[str], where: str) -> None:
    """Refuse labels from 1 beside predictions from 0: nearly all would be wrong by one."""
    if not answered or not of_truth:
        return
    low, high = (f(map(int, of_truth)) for f in (min, max))
    if {low - 1, high} != {min(map(int, answered)), max(map(int, answered)) + 1} or low - 1 != min(
        map(int, answered)
    ):
        return
    if low == 1 and len(of_truth) > 2:
        raise EvidenceError(
            f"{where}: labels count from {low} to {high}, predictions from {low - 1} to {high - 1}; write "
            "both alike."
        )


def as_probabilities(
    values: Float32[np.ndarray, "M K"], where: str
) -> tuple[Float32[np.ndarray, "M K"] | None, str | None]:
    """Probabilities that sum to one, with what was done to make them so; None where they cannot be.

    Raises: EvidenceError if a value is no finite number.
    """
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).any(axis=1).sum())
        raise EvidenceError(
            f"{where}: {bad:,} of {len(values):,} rows hold no finite numbers; a run that diverged has no "
            "answers. "
            "Leave it out."
        )
    if values.min() >= 0 and values.max() <= 1:
        if bool((np.abs(values.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE).all()):
            return values, None
        return (
            None,
            "probabilities do not sum to one: the largest is the answer, and loss and calibration are left "
            "out",
        )
    shifted = np.exp(values - values.max(axis=1, keepdims=True), dtype=np.float64)
    probs = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    return probs, "outputs are no probabilities: taken as logits, through softmax"
