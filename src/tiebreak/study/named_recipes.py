"""Recipes by name: files in the package, or of a user, that say how a model is trained."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from tiebreak.errors import StudyError, did_you_mean
from tiebreak.training.recipe.recipe import Recipe

PLACE = files("tiebreak.training.recipe") / "named"


def recipe_names() -> dict[str, str]:
    """The recipes in the package, each with its first line."""
    texts = {
        path.name.removesuffix(".toml"): path.read_text(encoding="utf-8")
        for path in PLACE.iterdir()
        if path.name.endswith(".toml")
    }
    return {name: texts[name].splitlines()[0].lstrip("# ") for name in sorted(texts)}


def recipe_text(name: str) -> str:
    """A recipe as TOML: one in the package by its name, or a file.

    Raises: StudyError if there is neither.
    """
    if name in recipe_names():
        return (PLACE / f"{name}.toml").read_text(encoding="utf-8")
    path = Path(name).expanduser()
    if not path.is_file():
        raise StudyError(f'unknown recipe "{name}", and no such file. {did_you_mean(name, recipe_names())}')
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read: {error}.") from None


def expand_recipe(given: Any) -> Any:
    """A table of settings from a name, or from a table whose key `name` stands for all that it does not say.

    Raises: StudyError if there is no such recipe or it cannot be read.
    """
    name = given if isinstance(given, str) else given.get("name") if isinstance(given, Mapping) else None
    if not isinstance(name, str):
        return given
    try:
        settings = tomllib.loads(recipe_text(name))
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"recipe {name} is not TOML: {error}") from None
    unknown = next((key for key in settings if key not in Recipe.model_fields), None)
    if unknown is not None:
        raise StudyError(
            f'recipe {name}: unknown key "{unknown}". {did_you_mean(unknown, Recipe.model_fields)}'
        )
    own = {} if isinstance(given, str) else {key: value for key, value in given.items() if key != "name"}
    return settings | own
