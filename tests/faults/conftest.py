"""The fork server, and the study that nothing happened to."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import RUNS, SEEDS, Server, Uninterrupted, leftovers, outcome_of

SERVER = Path(__file__).with_name("fork_server.py")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Does a job in a child process; gives how it ended."""
    command = [sys.executable, str(SERVER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        requests, answers = process.stdin, process.stdout

        def ask(**job: Any) -> dict[str, Any]:
            requests.write(json.dumps({"seeds": SEEDS} | job) + "\n")
            requests.flush()
            answer: dict[str, Any] = json.loads(answers.readline())
            return answer

        yield ask
        requests.close()


@pytest.fixture(scope="session")
def uninterrupted(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    """The study's outcome, and how many events of each kind it took."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "study"
    answer = server(folder=str(folder))
    assert answer["exit"] == 0, answer["output"]
    outcome = outcome_of(folder)
    assert len(outcome) == RUNS
    assert leftovers(folder) == []
    return outcome, json.loads(answer["output"].splitlines()[-1])
