"""The study file: a study written down in TOML, with all that the command line can say and more."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from tiebreak.errors import StudyError, TiebreakError, did_you_mean
from tiebreak.settings import Settings
from tiebreak.study.equal import Equal, read_equal
from tiebreak.study.named_recipes import expand_recipe
from tiebreak.study.plan import (
    DEFAULT_SEEDS,
    MAX_SEEDS,
    TABLES,
    DataChoice,
    Execution,
    Seeds,
    Study,
    choose_seeds,
    explain,
    make_recipe,
    make_study,
    parse_contender,
)
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.recipe.space import Tuning


def _lay_over(table: object, changes: dict[str, Any]) -> object:
    """What is no table stays, for the validation to complain of."""
    return table | changes if isinstance(table, dict) else table


class ContenderEntry(Settings):
    """One `[[contenders]]` table, or a text as on the command line."""

    model: str  # as on the command line
    label: str | None = None  # its name in the study; None: as `model`
    recipe: dict[str, Any] = Field(default_factory=dict)  # what differs from the study's recipe
    transforms: tuple[str, ...] = ()  # of its images, after those that stand in `model` behind an @
    train_fraction: float = 1.0  # of the training split
    search: dict[str, Any] = Field(default_factory=dict)  # its own ranges, where the study is tuned

    @model_validator(mode="before")
    @classmethod
    def _text_names_a_model(cls, entry: Any) -> Any:
        if isinstance(entry, str):
            return {"model": entry}
        return entry | {"recipe": expand_recipe(entry["recipe"])} if _has_recipe(entry) else entry


def _has_recipe(entry: Any) -> bool:
    return isinstance(entry, dict) and "recipe" in entry


def _auto_is_none(seeds: Any) -> Any:
    if isinstance(seeds, str) and seeds != "auto":
        raise ValueError(
            f'expected a number of seeds such as 5, or a list such as [0, 1, 2], or "auto", got {seeds!r}'
        )
    return None if seeds == "auto" else seeds


FIRST_SEEDS = tuple(range(DEFAULT_SEEDS))


class StudyFile(Settings):
    """The keys of a study file."""

    contenders: list[ContenderEntry] = Field(min_length=1)  # models as on the command line, or tables
    # "auto" becomes None: as many seeds as it takes, judged at the looks.
    seeds: Annotated[Seeds | None, BeforeValidator(_auto_is_none)] = FIRST_SEEDS  # a number, a list, "auto"
    looks: tuple[int, ...] | None = Field(default=None, min_length=1)  # with "auto": when to judge, in seeds
    max_seeds: int | None = Field(default=None, ge=2, le=MAX_SEEDS)  # with "auto": the most seeds
    level: float = 0.95  # of the intervals
    equivalence: float | None = None  # a difference in accuracy that would not matter
    superiority: float | None = None  # whether the better one is better by at least so much
    baseline: str | None = None  # whom all others are compared with
    also_test: tuple[str, ...] = ()  # further test images for the trained models
    vary: Literal["data", "disjoint"] | None = None  # as many runs again on images drawn anew; or none shared
    equal: Annotated[Equal | None, BeforeValidator(read_equal)] = None  # what all spend: "seconds:cnn"
    tune: Tuning | None = None  # a search for the recipe of each contender
    out: Path | None = None  # the study folder
    data: DataChoice = DataChoice()  # which images
    recipe: Recipe = Recipe()  # how all are trained, unless a contender says otherwise
    execution: Execution = Execution()  # where and how runs are made; no part of what they mean


# Where a setting of the command line or of a Python call stands in a study file: table ("": none) and key.
PLACES: dict[str, tuple[str, str]] = {
    **{key: ("", key) for key in StudyFile.model_fields},
    **{key: ("data", key) for key in DataChoice.model_fields},
    **{key: ("recipe", key) for key in Recipe.model_fields},
    **{key: ("execution", key) for key in Execution.model_fields},
}
PLACES |= {key: ("tune", key) for key in ("trials", "searches", "halving")} | {"tune_once": ("tune", "once")}
PLACES["dataset"] = PLACES.pop("name")  # "name" alone would not say of what


def sort_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their names alone, such as lr=0.01, as the tables of a study file.

    A table as a whole may be among them, such as recipe=Recipe(epochs=3); what stands beside it wins.

    Raises: StudyError for a name that no table has.
    """
    tables: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in PLACES:
            raise StudyError(f'unknown setting "{name}". {did_you_mean(name, PLACES)}')
        table, key = PLACES[name]
        if name == "tune" and isinstance(value, str | list | tuple):
            table, key = "tune", "search"
        if isinstance(value, BaseModel):
            value = value.model_dump(exclude_unset=True)
        if name == "recipe":
            value = expand_recipe(value)
        if not table and isinstance(value, Mapping):
            tables[key] = {**value, **tables.get(key, {})}
        elif table:
            tables.setdefault(table, {})[key] = value
        else:
            tables[key] = value
    return tables


def read_study_file(path: Path, settings: Mapping[str, Any]) -> tuple[Study, Execution, Path | None]:
    """The study in a TOML file, how to run it, and its folder if one is named.

    `settings`, by their names alone, win over the file, a contender's own recipe included.

    Raises: StudyError if the file is missing or not TOML, or has an unknown or wrong key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such study file.") from None
    except IsADirectoryError:
        raise StudyError(
            f"{path} is a folder, expected a TOML file. To look at a study: tiebreak report {path}"
        ) from None
    except (ValueError, RecursionError) as error:  # of TOML and of UTF-8, and integers of thousands of digits
        raise StudyError(f"{path} is not a TOML file: {error}") from None
    try:
        return interpret(content, settings)
    except TiebreakError as error:
        raise type(error)(f"{path}: {error}") from None


def interpret(content: dict[str, Any], settings: Mapping[str, Any]) -> tuple[Study, Execution, Path | None]:
    """What the content of a study file means, once settings (`sort_settings`) have been laid over it.

    Raises: StudyError for an unknown or wrong key.
    """
    overrides = sort_settings(settings)
    if _has_recipe(content):
        content = content | {"recipe": expand_recipe(content["recipe"])}
    merged = content | {
        key: _lay_over(content.get(key, {}), value) if isinstance(value, dict) else value
        for key, value in overrides.items()
    }
    try:
        file = StudyFile(**merged)
    except ValidationError as error:
        raise StudyError(explain(error, StudyFile, TABLES | {"contenders": ContenderEntry})) from None
    study = make_study(
        contenders=tuple(
            parse_contender(
                entry.model,
                make_recipe(file.recipe, entry.recipe | overrides.get("recipe", {})),
                label=entry.label,
                transforms=entry.transforms,
                train_fraction=entry.train_fraction,
                search=entry.search,
            )
            for entry in file.contenders
        ),
        **choose_seeds(file.seeds, file.looks, file.max_seeds),
        level=file.level,
        equivalence=file.equivalence,
        superiority=file.superiority,
        baseline=file.baseline,
        data=file.data,
        equal=file.equal,
        also_test=file.also_test,
        vary=file.vary,
        tune=file.tune,
    )
    return study, file.execution, file.out and file.out.expanduser()
