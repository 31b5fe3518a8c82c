"""Ctrl-C and SIGTERM: the batch is finished and stored, and the program says how to go on."""

import signal
from pathlib import Path

import pytest
from harness import Server, Uninterrupted, leftovers, outcome_of

STUDY = """
contenders = ["linear", "mlp(hidden_dim=16, dropout=0.2)"]
seeds = 2
data.name = "digits"
execution.checkpoint_seconds = 0

[recipe]
epochs = 2
batch_size = 256
optimizer = "sgd"
lr = 0.1
schedule = "cosine"
flip = true
crop = 1
"""

# A function that is called in the phase, and which call of it is meant.
PHASES = {
    "reading the data": ("load_dataset", 1),
    "looking for what is done": ("find_runs", 1),
    "beginning the study": ("begin_study", 1),
    "building the first model": ("build_model", 3),
    "training": ("train_step", 3),
    "evaluating": ("evaluate", 2),
    "saving a checkpoint": ("save_state", 2),
    "predicting": ("predict", 1),
    "storing a run": ("write_run", 2),
    "judging": ("judge", 1),
    "drawing": ("save_figures", 1),
}


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The study of the fork server as a command, in one process, whose functions are to be interrupted."""
    (tmp_path / "study.toml").write_text(STUDY)
    return ["run", str(tmp_path / "study.toml"), "--out", str(tmp_path / "study"), "--executor", "serial"]


@pytest.mark.parametrize("phase", PHASES)
def test_sigterm_in_each_phase(
    phase: str, server: Server, command: list[str], uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    function, nth = PHASES[phase]
    answer = server(command=command, moments=[{"signal": signal.SIGTERM, "function": function, "nth": nth}])
    assert answer["exit"] == 143, answer["output"]
    last = answer["output"].splitlines()[-1]
    assert last == f"tiebreak: stopped; what is finished is kept. To go on: tiebreak {' '.join(command)}"
    assert "Traceback" not in answer["output"]
    answer = server(folder=str(tmp_path / "study"))
    assert answer["exit"] == 0, answer["output"]
    assert outcome_of(tmp_path / "study") == uninterrupted[0]
    assert leftovers(tmp_path / "study") == []


def test_ctrl_c_finishes_the_batch_and_stores_it(
    server: Server, command: list[str], uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    answer = server(command=command, moments=[{"signal": signal.SIGINT, "function": "train_step", "nth": 3}])
    assert answer["exit"] == 130
    assert "stopping after this batch; once more stops at once" in answer["output"]
    assert (folder / "runs/linear/seed-0/checkpoint.safetensors").is_file()
    answer = server(command=command)
    assert "linear, seed 0 goes on in epoch 1 after 3 batches\n" in answer["output"]
    assert outcome_of(folder) == uninterrupted[0]


def test_a_second_ctrl_c_stops_at_once(
    server: Server, command: list[str], uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    moments = [
        {"signal": signal.SIGINT, "function": "train_step", "nth": 9},
        {"signal": signal.SIGINT, "function": "zero_grad", "nth": 1},
    ]
    answer = server(command=command, moments=moments)
    assert answer["exit"] == 130
    assert "Traceback" not in answer["output"]
    answer = server(folder=str(tmp_path / "study"))
    assert answer["exit"] == 0
    assert outcome_of(tmp_path / "study") == uninterrupted[0]
    assert leftovers(tmp_path / "study") == []
