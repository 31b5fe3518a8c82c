"""Where a recipe's settings are searched, as plain values: a range for each.

A search is given by text, `lr` or `lr=1e-4..1e-2`, several with commas between; without a range it is the
usual one for the contender's optimiser.
"""

import contextlib
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from tiebreak.settings import Settings
from tiebreak.training.recipe.recipe import Recipe


class Range(Settings):
    """From where to where a setting is searched."""

    low: float
    high: float
    log: bool = True  # evenly over its logarithm

    @model_validator(mode="after")
    def _is_a_range(self) -> "Range":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"expected a range such as 0.0001..0.01, got {self.low:g}..{self.high:g}")
        return self

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{' (log)' if self.log else ''}"

    def at(self, share: float) -> float:
        """The value at a share of the range, 0..1."""
        if self.log:
            return math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        return self.low + share * (self.high - self.low)


Optimizer = Literal["adam", "adamw", "sgd", "muon"]
ALL: tuple[Optimizer, ...] = ("adam", "adamw", "sgd", "muon")
# Of each setting that can be searched, by optimiser. Adam's weight decay is a gradient, AdamW's is decoupled.
USUAL: dict[str, dict[Optimizer, Range]] = {
    "lr": {
        "adam": Range(low=1e-4, high=1e-2),
        "adamw": Range(low=1e-4, high=1e-2),
        "sgd": Range(low=1e-3, high=1.0),
        "muon": Range(low=1e-3, high=0.3),
    },
    "weight_decay": {
        "adam": Range(low=1e-7, high=1e-3),
        "adamw": Range(low=1e-3, high=1.0),
        "sgd": Range(low=1e-6, high=1e-2),
        "muon": Range(low=1e-3, high=1.0),
    },
    "momentum": dict.fromkeys(("sgd", "muon"), Range(low=0.8, high=0.99, log=False)),
    "label_smoothing": dict.fromkeys(ALL, Range(low=0.0, high=0.2, log=False)),
    "batch_size": dict.fromkeys(ALL, Range(low=32, high=512)),
}


def _read_range(value: Any) -> Any:
    """A range as a study file or the command line writes it: [1e-4, 1e-2] or "1e-4..1e-2"."""
    if isinstance(value, str):
        low, dots, high = value.partition("..")
        with contextlib.suppress(ValueError):
            value = [float(low), float(high)] if dots else value
        if not dots or isinstance(value, str):
            raise ValueError(f"expected a range such as 1e-4..1e-2, got {value!r}")
    if isinstance(value, list | tuple) and len(value) == 2:
        return {"low": value[0], "high": value[1], "log": value[0] > 0}
    return value


def _read_search(value: Any) -> Any:
    """Settings by name, each with its range or None for the usual one."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if isinstance(value, list | tuple):
        parts = [str(part).partition("=") for part in value]
        value = {name.strip(): range_.strip() if equals else None for name, equals, range_ in parts}
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"expected settings to search such as lr,weight_decay, got {value!r}")
    return _known(value)


def _known(ranges: Any) -> Any:
    """Ranges by the names of settings, in their order; `weight-decay` is one, too."""
    if not isinstance(ranges, Mapping):
        return ranges
    found = {str(name).replace("-", "_"): each for name, each in ranges.items()}
    for name in found:
        if name not in USUAL:
            raise ValueError(f"{name!r} cannot be searched; choose from {', '.join(USUAL)}")
    return {name: found[name] for name in sorted(found)}


Ranges = Annotated[dict[str, Annotated[Range, BeforeValidator(_read_range)]], BeforeValidator(_known)]
Search = Annotated[
    dict[str, Annotated[Range, BeforeValidator(_read_range)] | None], BeforeValidator(_read_search)
]


class Tuning(Settings):
    """How every contender is tuned: the same number of trials, each of its recipe's epochs, the best by
    validation accuracy.
    """

    search: Search  # which settings, each with a range or with the usual one
    trials: int = Field(default=6, ge=2, le=1024)  # of each contender in each search
    searches: int | None = Field(default=None, ge=2)  # in all, several seeds each; None: one a seed
    once: bool = False  # one search for all seeds: the verdict is then about what it found
    halving: bool = False  # most trials end early (successive halving)

    @model_validator(mode="after")
    def _is_one_way(self) -> "Tuning":
        if self.once and self.searches is not None:
            raise ValueError(
                "tune_once is one search for all seeds; leave out searches, or leave out tune_once"
            )
        return self


def space_of(
    recipe: Recipe, search: Mapping[str, Range | None], own: Mapping[str, Range]
) -> dict[str, Range]:
    """The range of each setting that a contender's search goes over, its own before the usual one.

    Raises: ValueError if a setting means nothing to its optimiser, or a range holds what it cannot be.
    """
    space: dict[str, Range] = {}
    for name, given in search.items():
        usual = USUAL[name].get(recipe.optimizer)
        if usual is None:
            raise ValueError(f"{name} is no setting of {recipe.optimizer}; leave it out of the search")
        space[name] = own.get(name) or given or usual
        for end in (space[name].low, space[name].high):
            try:
                Recipe.model_validate(recipe.model_dump() | {name: end})
            except ValidationError as error:
                complaint = error.errors()[0]["msg"]
                raise ValueError(f"{name} cannot be {end:g}: {complaint[0].lower()}{complaint[1:]}") from None
    return space
