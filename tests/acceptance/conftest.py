"""Running whole commands, in this process, as a shell would see them."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tiebreak.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def tiebreak(monkeypatch, capsys, tmp_path) -> Callable[..., Outcome]:
    """Run `tiebreak ARGUMENTS` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["tiebreak", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run
