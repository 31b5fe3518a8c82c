"""A study written down again as the file that `tiebreak run` takes."""

import json
from typing import Any

from tiebreak.study.plan import Study


def study_as_toml(study: Study) -> str:
    """The study file (TOML) that gives this very study; where its data lie on this machine is left out."""
    top: dict[str, Any] = {"seeds": _seeds(study)}
    top |= study.model_dump(
        mode="json", exclude={"contenders", "seeds", "data"}, exclude_defaults=True, exclude_none=True
    )
    lines = [_line(key, value) for key, value in top.items()]
    data = study.data.model_dump(mode="json", exclude={"data_dir"}, exclude_defaults=True, exclude_none=True)
    lines += ["", "[data]", *(_line(key, value) for key, value in ({"name": study.data.name} | data).items())]
    for contender in study.contenders:
        entry = contender.model_dump(
            mode="json", exclude={"recipe"}, exclude_defaults=True, exclude_none=True
        )
        recipe = contender.recipe.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        lines += ["", "[[contenders]]", *(_line(key, value) for key, value in entry.items())]
        if recipe:
            lines += ["[contenders.recipe]", *(_line(key, value) for key, value in recipe.items())]
    return "\n".join(lines) + "\n"


def _seeds(study: Study) -> int | list[int] | str:
    if study.looks is not None:
        return "auto"  # the looks say how many
    seeds = list(study.seeds)
    return len(seeds) if seeds == list(range(len(seeds))) else seeds


def _line(key: str, value: Any) -> str:
    return f"{key} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(_line(key, item) for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # TOML writes strings, numbers and booleans as JSON does, but knows no escapes for halves of characters.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
