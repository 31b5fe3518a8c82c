"""The study file: a study written down in TOML, with all that the command line can say and more."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from tiebreak.errors import StudyError
from tiebreak.study.plan import (
    DEFAULT_SEEDS,
    TABLES,
    Contender,
    DataChoice,
    Execution,
    Plan,
    Seed,
    Study,
    explain,
    make_recipe,
    make_study,
    parse_contender,
)
from tiebreak.training.recipe import Recipe


def _lay_over(table: object, changes: dict[str, Any]) -> object:
    """What is no table stays, for the validation to complain of."""
    return table | changes if isinstance(table, dict) else table


class ContenderEntry(Plan):
    """One `[[contenders]]` table."""

    model: str
    label: str | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)  # what differs from the study's recipe


class StudyFile(Plan):
    """The keys of a study file."""

    contenders: list[str | ContenderEntry] = Field(min_length=1)
    seeds: int | list[Seed] = DEFAULT_SEEDS
    level: float = 0.95
    out: Path | None = None  # the study folder
    data: DataChoice = DataChoice()
    recipe: Recipe = Recipe()
    execution: Execution = Execution()


def read_study_file(path: Path, overrides: dict[str, Any]) -> tuple[Study, Execution, Path | None]:
    """The study in a TOML file, how to run it, and its folder if one is named.

    `overrides` has the form of the file; what it says wins, a contender's own recipe included.

    Raises: StudyError if the file is missing or not TOML, or has an unknown or wrong key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such study file.") from None
    except IsADirectoryError:
        raise StudyError(
            f"{path} is a folder, expected a TOML file. To look at a study: tiebreak report {path}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StudyError(f"{path} is not a TOML file: {error}") from None
    try:
        return interpret(content, overrides)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from None


def interpret(content: dict[str, Any], overrides: dict[str, Any]) -> tuple[Study, Execution, Path | None]:
    """What the content of a study file means, once overrides of the same form have been laid over it."""
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
            _contender(entry, file.recipe, overrides.get("recipe", {})) for entry in file.contenders
        ),
        seeds=file.seeds,
        level=file.level,
        data=file.data,
    )
    return study, file.execution, file.out


def _contender(entry: str | ContenderEntry, base: Recipe, overrides: dict[str, Any]) -> Contender:
    if isinstance(entry, str):
        return parse_contender(entry, base)
    recipe = make_recipe(base, entry.recipe | overrides)
    contender = parse_contender(entry.model, recipe)
    return contender.model_copy(update={"label": entry.label}) if entry.label else contender
