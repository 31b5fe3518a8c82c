"""Whether README and docs are true as far as a script can tell: links, commands, code and study files.

    python tools/check_docs.py

Every link leads to a file and a heading that are there; every `tiebreak` command has options that exist and
arguments that can be read; every block of Python compiles and every study file can be understood; the README
stays short. It runs nothing.
"""

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from typer import core

from tiebreak.cli.run_command import app
from tiebreak.errors import TiebreakError
from tiebreak.study.study_file import interpret

USAGE_ERROR: Any = typer.BadParameter.__base__  # which typer does not export
ROOT = Path(__file__).parents[1]
PAGES = [*(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
MOST_README_LINES = 150
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """The headings of a page as GitHub links to them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def wrong_links(page: Path, text: str) -> Iterator[str]:
    for link in LINK.findall(FENCE.sub("", text)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            yield f"{link}: there is no such file"
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield f"{link}: no such heading"


def commands(block: str) -> Iterator[list[str]]:
    """The tiebreak commands of a console block, without the shell's own words."""
    for line in re.sub(r"\\\n", " ", block).splitlines():
        if line.startswith("$ "):
            for part in line[2:].split("; "):
                words = shlex.split(part, comments=True)
                end = next((at for at, word in enumerate(words) if word in ("|", ">")), None)
                if words[:1] == ["tiebreak"]:
                    yield words[1:end]


def wrong_command(words: list[str]) -> str | None:
    """What is wrong with a command, without running it."""
    command, rest = typer.main.get_command(app), list(words)
    while isinstance(command, core.TyperGroup) and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return f"there is no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    if "--help" in rest or not rest:
        return None
    try:
        command.make_context("tiebreak", rest)
    except typer.Exit:
        return None
    except USAGE_ERROR as error:
        return str(error.format_message())
    return None


def wrong_blocks(text: str) -> Iterator[str]:
    for kind, block in FENCE.findall(text):
        if kind == "console":
            found = ((shlex.join(words), wrong_command(words)) for words in commands(block))
            yield from (f"tiebreak {words}: {complaint}" for words, complaint in found if complaint)
        try:
            if kind == "python":
                compile(block, "a block of Python", "exec")
            elif kind == "toml" and "contenders" in block:
                interpret(tomllib.loads(block), {})
        except (SyntaxError, ValueError, TiebreakError) as error:
            yield f"{kind}: {error}"


def main() -> int:
    complaints = []
    for page in [*PAGES, *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        found = [*wrong_links(page, text), *wrong_blocks(text)]
        complaints += [f"{page.relative_to(ROOT)}: {complaint}" for complaint in found]
    lines = len((ROOT / "README.md").read_text(encoding="utf-8").splitlines())
    if lines > MOST_README_LINES:
        complaints.append(f"README.md has {lines} lines, at most {MOST_README_LINES} are meant")
    print("\n".join(complaints) or f"{len(PAGES)} pages and docs/: links, commands and code hold.")
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
