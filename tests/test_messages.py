"""What a message tells one to do can be done: every option and every key of a study file in it exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import typer

from tiebreak.cli.run_command import app
from tiebreak.study.study_file import StudyFile
from tiebreak.training.recipe.space import Tuning

ROOT = Path(__file__).parents[1]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
KEY = re.compile(r"(?<![\w./])(data|recipe|execution|tune)\.(?!(?:py|md)\b)([a-z_]{2,})")
FOREIGN = OPTION.findall(
    "docker --cpus; ray --working-dir --runtime-env-json --min-nodes --num-cpus --head --port; "
    "pip --constraint; srun --nodes --ntasks-per-node --cpus-per-task --exclusive"
)


def options(command: typer.core.TyperCommand | typer.core.TyperGroup) -> set[str]:
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return own.union({"--help"}, *map(options, getattr(command, "commands", {}).values()))


def texts() -> Iterator[tuple[Path, str]]:
    """Every string in the source, and every page a user reads."""
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        yield path, path.read_text()


def test_every_option_that_a_message_names_exists():
    known = options(typer.main.get_command(app)) | set(FOREIGN)
    named = [(path.name, option) for path, text in texts() for option in OPTION.findall(text)]
    assert {option for _, option in named} >= {"--skip-bad-images", "--resize", "--out"}
    assert [each for each in named if each[1] not in known] == []


def test_every_key_that_a_message_names_exists():
    tables = {
        name: StudyFile.model_fields[name].annotation.model_fields for name in ("data", "recipe", "execution")
    } | {"tune": Tuning.model_fields}
    named = [(path.name, *key) for path, text in texts() for key in KEY.findall(text)]
    assert [each for each in named if each[2] not in tables[each[1]]] == []
