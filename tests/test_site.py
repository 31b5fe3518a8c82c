"""The site's reference says all that the code knows; links and notebooks find their places."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import tiebreak
from tiebreak.cli.run_command import app
from tiebreak.study.study_file import PLACES

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import site_pages  # noqa: E402


def sections(page: str) -> dict[str, str]:
    """What stands under each heading of a page of the reference."""
    parts = (
        part.partition("\n") for part in site_pages.reference()[f"reference/{page}.md"].split("\n## ")[1:]
    )
    return {heading: body for heading, _, body in parts}


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from commands(inner, f"{path} {name}")


def test_the_reference_has_every_command_with_every_option():
    found, there = sections("commands"), dict(commands(typer.main.get_command(app), "tiebreak"))
    assert found.keys() == there.keys()
    assert "tiebreak data fetch" in there
    for path, command in there.items():
        for parameter in command.params:
            names = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
            assert all(f"`{name}`" in found[path] for name in names), (path, names)
    assert "Example: `tiebreak pareto" in found["tiebreak pareto"]


def test_the_reference_has_every_key_of_a_study_file_with_a_meaning():
    found = sections("study-file")
    for table, key in PLACES.values():
        heading = site_pages.HEADINGS.get(table, f"`[{table}]`")
        (row,) = (line for line in found[heading].splitlines() if line.startswith(f"| `{key}` |"))
        assert not row.endswith("|  |"), f"no meaning: {row}"
    assert "| `cutmix` | `float` | `0.0` | paste a box of one into another; likewise |" in found["`[recipe]`"]
    assert "| `model` | `str` | needed |" in found["`[[contenders]]`"]


def test_the_reference_has_every_public_name():
    page = site_pages.reference()["reference/python.md"]
    names = {line.rpartition(".")[2] for line in page.splitlines() if line.startswith(":::")}
    assert names == set(tiebreak.__all__)


@pytest.mark.parametrize(
    ("page", "link", "place"),
    [
        ("README.md", "docs/why.md", "why.md"),
        ("docs/index.md", "../README.md", "start.md"),
        ("docs/why.md", "../benchmarks/gpu.md", "benchmarks/gpu.md"),
        ("docs/index.md", "../notebooks/how_sure.ipynb", "notebooks/how_sure.md"),
    ],
)
def test_a_link_of_the_repository_has_a_place_in_the_site(page: str, link: str, place: str) -> None:
    target = site_pages.target_of(page, link)
    assert target is not None
    assert site_pages.site_uri(target) == place


def test_a_link_that_leads_elsewhere_is_left_alone():
    assert site_pages.target_of("README.md", "https://example.org/a.md") is None
    assert site_pages.target_of("README.md", "") is None
    assert "benchmarks/gpu.md" in site_pages.linked("README.md")


def test_the_pictures_of_one_notebook_do_not_replace_those_of_another():
    notebooks = [path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb")]
    places = [place for path in notebooks for place in site_pages.pages_of(path)]
    assert len(places) > len(notebooks)
    assert len(set(places)) == len(places)
