"""Terminals, pipes and folders as a command may find them."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = "import sys; sys.argv[0] = 'tiebreak'; from tiebreak.cli import main; main()"


def shell(script: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a shell's script, in which "$@" is the command."""
    return subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-c", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_characters_that_a_terminal_lacks_are_replaced() -> None:
    program = (
        "from tiebreak.cli.streams import ready_streams; ready_streams(); print('26.9 ± 1, 2 \\xd7 3… für')"
    )
    answer = shell('"$@"', program, PYTHONIOENCODING="ascii")
    assert (answer.returncode, answer.stdout) == (0, "26.9 +- 1, 2 x 3... f?r\n")


def test_a_closed_stdout_costs_nothing_and_no_file_gets_its_number() -> None:
    for streams in (">&-", "<&- >&- 2>&-"):
        answer = shell(f'"$@" {streams}', COMMAND, "data", "list")
        assert (answer.returncode, answer.stderr) == (0, "")


def test_a_current_folder_that_was_deleted_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    answer = shell(f'cd {gone} && rmdir {gone} && "$@"', COMMAND, "compare", "linear", "mlp")
    assert answer.returncode == 2
    assert answer.stderr == "tiebreak: The current folder has been deleted; change to another one.\n"
