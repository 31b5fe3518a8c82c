"""Words from files cannot steer the terminal, whichever way they are printed."""

from io import StringIO

import pytest
from rich.markup import escape
from rich.table import Table

from tiebreak.errors import printable
from tiebreak.report.terminal.console import TerminalConsole

EVIL = "a\x1b[2Jb\x00c\x9bd\u202ee"
SHOWN = "a\ufffd[2Jb\ufffdc\ufffdd\ufffde"


def test_what_can_be_printed_stays() -> None:
    assert printable("naïve — 3 ± 4\nлюди 猫") == "naïve — 3 ± 4\nлюди 猫"
    assert printable(EVIL) == SHOWN


@pytest.mark.parametrize("how", ["text", "markup", "table", "wrapped"])
def test_control_characters_are_replaced(how: str) -> None:
    file = StringIO()
    width = 12 if how == "wrapped" else 80
    console = TerminalConsole(file=file, width=width, force_terminal=True, color_system=None)
    if how == "table":
        table = Table("words")
        table.add_row(EVIL)
        console.print(table)
    elif how == "markup":
        console.print(f"[bold]{escape(EVIL)}[/]")
    else:
        console.print(EVIL, markup=False)
    text = file.getvalue()
    assert "\ufffd[2J" in text
    assert "\x1b[2J" not in text
    assert not any(character in text for character in "\x00\x9b\u202e")


def test_colours_stay() -> None:
    file = StringIO()
    TerminalConsole(file=file, force_terminal=True, color_system="standard").print("[red]red[/]")
    assert file.getvalue() == "\x1b[31mred\x1b[0m\n"
