"""A study that is killed again and again ends as one that was left alone.

TIEBREAK_FAULTS sets the number of kills: 8 by default, 100 for the full proof.
"""

import json
import os
import random
import signal
from pathlib import Path

import pytest
from harness import RUNS, Server, Uninterrupted, leftovers, outcome_of

KILLS = int(os.environ.get("TIEBREAK_FAULTS", "8"))


@pytest.mark.parametrize("trial", range((KILLS + 1) // 2))
def test_a_study_killed_twice_ends_with_the_same_bytes(
    trial: int, server: Server, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    expected, events = uninterrupted
    choice = random.Random(trial)
    folder = tmp_path / "study"
    every = choice.choice([0.0, 1e9])  # seconds between checkpoints inside an epoch
    finished: dict[str, object] = {}
    for _ in range(2):
        files = choice.random() < 0.5
        moment = {
            "signal": signal.SIGKILL,
            "files": files,
            "nth": choice.randint(1, events["file_events" if files else "events"] // 2),
        }
        answer = server(folder=str(folder), moments=[moment], checkpoint_seconds=every)
        # Fewer events are left than the moment says if the first kill came late.
        assert answer["exit"] in (-signal.SIGKILL, 0), answer["output"]
        kept = outcome_of(folder)
        assert finished.items() <= kept.items()
        finished = kept
    answer = server(folder=str(folder), checkpoint_seconds=every)
    assert answer["exit"] == 0, answer["output"]
    assert outcome_of(folder) == expected
    assert len(expected) == RUNS
    assert leftovers(folder) == []


@pytest.mark.parametrize("function", ["atomic_write", "savez", "fsync", "replace", "sync_folder", "unlink"])
@pytest.mark.parametrize("nth", [1, 2, 3] if KILLS >= 100 else [2])
def test_a_kill_while_a_run_is_stored_loses_nothing(
    function: str, nth: int, server: Server, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    """Between and within predictions, weights, run.json and the removal of the checkpoint."""
    folder = tmp_path / "study"
    stored = {
        "signal": signal.SIGCONT,
        "function": "write_run",
        "nth": 1,
    }  # does nothing but mark a beginning
    server(folder=str(folder), moments=[stored, {"signal": signal.SIGKILL, "function": function, "nth": nth}])
    assert server(folder=str(folder))["exit"] == 0
    assert outcome_of(folder) == uninterrupted[0]
    assert leftovers(folder) == []


@pytest.fixture(scope="module")
def tuned(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    """The outcome of a tuned study, searched by halving, and how many events it took."""
    folder = tmp_path_factory.mktemp("tuned") / "study"
    answer = server(command=tuning(folder))
    assert answer["exit"] == 0, answer["output"]
    return outcome_of(folder), json.loads(answer["output"].splitlines()[-1])


def tuning(folder: Path) -> list[str]:
    return [
        *("compare", "linear", "mlp(hidden_dim=9)", "--dataset", "digits", "--out", str(folder)),
        *("--tune", "lr", "--trials", "3", "--halving", "--seeds", "2", "--epochs", "3"),
        *("--executor", "serial"),
    ]


@pytest.mark.parametrize("trial", range((KILLS + 7) // 8))
def test_a_search_killed_twice_ends_with_the_same_bytes(
    trial: int, server: Server, tuned: Uninterrupted, tmp_path: Path
) -> None:
    """In a rung, between rungs, or while what it chose is copied."""
    expected, events = tuned
    choice, folder = random.Random(trial), tmp_path / "study"
    for _ in range(2):
        files = choice.random() < 0.5
        nth = choice.randint(1, events["file_events" if files else "events"] * 2 // 3)
        moment = {"signal": signal.SIGKILL, "files": files, "nth": nth}
        assert server(command=tuning(folder), moments=[moment])["exit"] in (-signal.SIGKILL, 0)
    answer = server(command=tuning(folder))
    assert answer["exit"] == 0, answer["output"]
    assert outcome_of(folder) == expected
    assert len(expected) == RUNS
