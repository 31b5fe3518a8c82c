"""Ctrl-C and SIGTERM outside of training: while modules are imported, and in commands that train nothing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Server

AT_IMPORT = """
import os, sys

module, number = sys.argv[1], int(sys.argv[2])

class Trap:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), number)

sys.meta_path.insert(0, Trap())
sys.argv = ["tiebreak", *sys.argv[3:]]
from tiebreak.cli import main
main()
"""
PLAN = ["plan", "--difference", "0.01", "--test-images", "10000", "--accuracy", "0.9"]
COMPARE = ["compare", "linear", "mlp", "--dataset", "digits", "--workers", "1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("module", "command"),
    [("typer", PLAN), ("numpy", PLAN), ("scipy.special", PLAN), ("torch.nn", COMPARE)],
)
def test_a_signal_while_modules_are_imported(
    module: str, command: list[str], number: signal.Signals, tmp_path: Path
) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", AT_IMPORT, module, str(int(number)), *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (128 + number, "", "tiebreak: stopped.\n")
    assert not list(tmp_path.iterdir())


def test_a_signal_in_a_command_that_trains_nothing(server: Server, tmp_path: Path) -> None:
    folder = str(tmp_path / "study")
    assert server(folder=folder)["exit"] == 0
    for number, command, function in [
        (
            signal.SIGINT,
            ["check", folder, "linear >= 0.999"],
            "read_study",
        ),  # false: its own status would be 1
        (signal.SIGTERM, ["report", folder], "judge"),
    ]:
        moment = {"signal": number, "function": function, "nth": 1}
        answer = server(command=command, moments=[moment])
        assert answer["exit"] == 128 + number
        assert answer["output"].endswith("tiebreak: stopped.\n")
        assert "Traceback" not in answer["output"]
