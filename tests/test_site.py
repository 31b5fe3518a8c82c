"""The site's reference says all that the code knows; its notebooks keep their pictures apart."""

import sys
from pathlib import Path

import typer.main

import tiebreak
from tiebreak.cli.run_command import app
from tiebreak.study.study_file import PLACES

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import site_pages  # noqa: E402


def test_the_reference_has_every_command_with_every_option():
    page = site_pages.reference()["reference/commands.md"]
    commands = typer.main.get_command(app).commands
    for name in ("compare", "judge", "pareto"):
        section = page.partition(f"## tiebreak {name}\n")[2].partition("\n## ")[0]
        for parameter in commands[name].params:
            assert all(f"`{option}`" in section for option in parameter.opts if option.startswith("-"))
        assert "Example: `tiebreak" in section
    assert "## tiebreak data fetch" in page
    assert set(commands) - {"data", "recipes"} <= set(page.split())


def test_the_reference_has_every_key_of_a_study_file():
    page = site_pages.reference()["reference/study-file.md"]
    for table, key in PLACES.values():
        section = page.partition(f"## `[{table}]`" if table else "## At the top")[2].partition("\n## ")[0]
        assert f"| `{key}` |" in section, (table, key)
    assert "| `cutmix` | `float` | `0.0` |" in page
    assert "when to judge, in seeds |" in page, "what a comment says is the meaning"


def test_the_reference_has_every_public_name():
    page = site_pages.reference()["reference/python.md"]
    assert [
        line.rpartition(".")[2] for line in page.splitlines() if line.startswith(":::")
    ] == tiebreak.__all__


def test_what_lies_outside_docs_finds_its_place_in_the_site():
    places = ["README.md", "docs/why.md", "notebooks/how_sure.ipynb", "benchmarks/gpu.md"]
    assert [site_pages.site_uri(path) for path in places] == [
        *("start.md", "why.md", "notebooks/how_sure.md", "benchmarks/gpu.md")
    ]
    assert "benchmarks/gpu.md" in set(site_pages.linked("README.md"))
