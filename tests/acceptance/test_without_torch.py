"""What judges needs no PyTorch: the same commands where it cannot be imported, with the same words."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tiebreak.actions.compare import compare

BLOCKED = "import sys; sys.modules['torch'] = None; from tiebreak.cli import main; main()"
AS_USUAL = "from tiebreak.cli import main; main()"


def run(code: str, *arguments: str, cwd: Path) -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"COLUMNS": "100"},
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("without-torch")
    compare(["linear", "mlp"], "digits", seeds=2, epochs=1, out=place / "study", progress=False)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    for name, share in (("one", 0.9), ("two", 0.6)):
        right = rng.random((2, 300)) < share
        np.save(place / f"{name}.npy", np.where(right, truth, (truth + 1) % 3))
    np.save(place / "truth.npy", truth)
    return place


COMMANDS = {
    "report": ("report", "study"),
    "check": ("check", "study", "linear.params <= mlp.params"),
    "plan": ("plan", "--pilot", "study", "--difference", "0.01"),
    "judge": ("judge", "one.npy", "two.npy", "--labels", "truth.npy", "--out", "judged"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_judges_needs_no_pytorch(name: str, folder: Path) -> None:
    usual = run(AS_USUAL, *COMMANDS[name], cwd=folder)
    page = folder / "study" / "report.html"
    before = page.read_bytes() if name == "report" else b""
    assert usual[0] == 0
    assert run(BLOCKED, *COMMANDS[name], cwd=folder) == usual
    assert not before or page.read_bytes() == before
