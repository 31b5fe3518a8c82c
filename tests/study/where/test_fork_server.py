"""Forked workers: as good as started ones, whatever changed since their server began."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_execute import TWO_WORKERS, content, outcomes, task

from tiebreak.data.dataset import ImageDataset
from tiebreak.data.digits import digits_source
from tiebreak.study.plan import Execution
from tiebreak.study.where import WORK, fork_server
from tiebreak.study.where.fork_server import ForkServer
from tiebreak.study.where.machine import Machine, choose_workers

START_EARLY = fork_server.start_early  # before the tests' own settings replace it

MODEL = """
import os, sys
from torch import nn

class Linear(nn.Linear):
    def forward(self, images):
        if self.training:
            print("variable:", os.environ.get("TIEBREAK_TEST"), file=sys.stderr, flush=True)
        return super().forward(images.flatten(1))

def linear(image_shape, num_classes):
    return Linear(64, num_classes)
"""


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return digits_source(0.2).build()


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    """A server as a command starts it, for the time of the test."""
    server = ForkServer(WORK, threads=1)
    monkeypatch.setattr(fork_server, "_early", [server])
    yield server
    server.close()


def test_a_fork_sees_what_changed_since_the_server_began(
    early: ForkServer,
    digits: ImageDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "models.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIEBREAK_TEST", "set later")
    outcomes([task("models.py:linear")], digits, TWO_WORKERS)
    assert "variable: set later" in capfd.readouterr().err
    assert early.process.poll() is None  # it serves the next study too
    assert "Threads:\t1\n" in Path(f"/proc/{early.process.pid}/status").read_text()


def test_a_server_that_died_is_done_without(early: ForkServer, digits: ImageDataset) -> None:
    early.process.kill()
    early.process.wait()
    run = task("linear")
    [news] = outcomes([run], digits, TWO_WORKERS).values()
    assert content(news[-1])


def test_a_fork_ends_with_the_status_of_its_end(early: ForkServer) -> None:
    worker = early.fork()
    assert worker is not None
    worker.kill()
    assert worker.wait() == worker.wait() == -signal.SIGKILL
    worker.kill()  # of a process that was waited for: nothing happens
    worker.stdin.close()
    worker.stdout.close()


DRIVER = """
import sys
from tiebreak.study.where.fork_server import ForkServer
server = ForkServer("never_imported:work", threads=1)
print(server.process.pid, flush=True)
sys.stdin.read()
"""


def test_a_server_ends_with_its_driver_even_while_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "importing")
    (tmp_path / "never_imported.py").write_text(
        f"open({str(tmp_path / 'importing')!r}, 'w').close()\nimport time\ntime.sleep(3600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as driver:
        assert driver.stdout is not None
        server = os.pidfd_open(int(driver.stdout.readline()))
        (tmp_path / "importing").read_text()  # waits until it has come there
        driver.kill()
    assert select.select([server], [], [], 60)[0], "the server is still there"
    os.close(server)


def test_only_for_a_server_of_its_own_a_short_study_does_not_start_workers(digits: ImageDataset) -> None:
    specs, machine = [task("linear", seed).spec for seed in (0, 1)], Machine(kind="cpu", cores=2)
    assert choose_workers(specs, digits, Execution(device="cpu"), machine, early_server=True) == 2
    assert choose_workers(specs, digits, Execution(device="cpu"), machine) == 1


def test_a_server_is_started_early_once_and_only_where_there_is_a_core_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fork_server, "start_early", START_EARLY)
    monkeypatch.setattr(fork_server, "_early", [])
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    fork_server.start_early(WORK, 1)
    assert not fork_server.has_early_server()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    fork_server.start_early(WORK, 1)
    [server] = fork_server._early
    fork_server.start_early(WORK, 1)
    assert fork_server._early == [server]
    server.close()
