"""What takes long is shown, in a terminal and elsewhere; what does not is not."""

from io import StringIO

import pytest
from rich.console import Console

from tiebreak.report.terminal import waiting
from tiebreak.report.terminal.waiting import show_waiting


def shown(monkeypatch: pytest.MonkeyPatch, after: float, terminal: bool) -> str:
    monkeypatch.setattr(waiting, "SHOWN_AFTER", after)
    text = StringIO()
    with show_waiting(Console(file=text, width=80, force_terminal=terminal)) as tell:
        for done in range(0, 101, 10):
            tell("fetching set.tar.gz (163 MiB)", done, 100)
    return text.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_soon_over_is_not_shown(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    assert shown(monkeypatch, 60.0, terminal) == ""


def test_a_file_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, -1.0, terminal=False) == "fetching set.tar.gz (163 MiB) ...\n"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = shown(monkeypatch, -1.0, terminal=True)
    assert "fetching set.tar.gz (163 MiB)" in bar and "100%" in bar
