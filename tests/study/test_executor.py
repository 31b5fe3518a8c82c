"""Runs in worker processes: the bytes of a serial study, and what happens when something dies."""

import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections import defaultdict, deque
from pathlib import Path

import numpy as np
import pytest
import torch

from tiebreak.data.dataset import ImageDataset
from tiebreak.data.digits import digits_source
from tiebreak.errors import DataError, StudyError, TiebreakError
from tiebreak.study.executor import (
    News,
    RunFailure,
    RunFinished,
    RunId,
    Task,
    execute,
    failure_after_deaths,
)
from tiebreak.study.plan import Execution
from tiebreak.study.shared_data import open_shared, share_data
from tiebreak.study.study_file import interpret
from tiebreak.study.workers import _longest
from tiebreak.training.loop import EpochResult
from tiebreak.training.recipe import Recipe
from tiebreak.training.run import RunSpec

SERIAL = Execution(device="cpu", executor="serial")
TWO_WORKERS = Execution(device="cpu", executor="processes", workers=2)

USER_MODELS = """
import os, pathlib, signal
from torch import nn

class Talking(nn.Linear):
    def forward(self, images):
        print("not a message for the driver", flush=True)
        return super().forward(images.flatten(1))

def talking(image_shape, num_classes):
    return Talking(64, num_classes)

class Deadly(nn.Linear):
    def forward(self, images):
        if self.training and (self.marker is None or not self.marker.exists()):
            if self.marker is not None:
                self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images.flatten(1))

def deadly(image_shape, num_classes, marker=None):
    model = Deadly(64, num_classes)
    model.marker = marker and pathlib.Path(marker)
    return model

class Broken(nn.Linear):
    def forward(self, images):
        assert not self.training, "no training today"
        return super().forward(images.flatten(1))

def broken(image_shape, num_classes):
    return Broken(64, num_classes)
"""


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return digits_source(0.2).build()


@pytest.fixture
def models(tmp_path: Path) -> str:
    """A file of a user's own models."""
    path = tmp_path / "models.py"
    path.write_text(USER_MODELS)
    return str(path)


def task(model: str, seed: int = 0, *, val_size: int = 100, lr: float = 1e-3, epochs: int = 1) -> Task:
    recipe = Recipe(epochs=epochs, lr=lr)
    spec = RunSpec(model=model, recipe=recipe, seed=seed, val_size=val_size)
    return Task(run=RunId(label=model, seed=seed, epochs=epochs), spec=spec)


def outcomes(tasks: list[Task], data: ImageDataset, execution: Execution) -> dict[RunId, list[News]]:
    """All news by run."""
    news_of = defaultdict(list)
    for run, news in execute(tasks, data, execution):
        news_of[run].append(news)
    return news_of


def content(news: News) -> dict[str, bytes]:
    """A result's weights and predictions, as bytes."""
    assert isinstance(news, RunFinished)
    weights = {name: tensor.numpy().tobytes() for name, tensor in news.result.weights.items()}
    return weights | {name: array.tobytes() for name, array in vars(news.result.predictions).items()}


def test_workers_give_the_bytes_of_a_serial_study(
    digits: ImageDataset, models: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(models).parent)  # workers find a file by its relative path, too
    names = ["linear", "mlp(hidden_dim=8, dropout=0.2)", "models.py:talking"]
    tasks = [task(name, seed) for seed in (0, 1) for name in names]
    serial = outcomes(tasks, digits, SERIAL)
    environment, threads, cores = dict(os.environ), torch.get_num_threads(), os.sched_getaffinity(0)

    parallel = outcomes(tasks, digits, TWO_WORKERS)

    assert list(serial) == [task.run for task in tasks]
    assert parallel.keys() == serial.keys()
    for run, news in parallel.items():
        assert content(news[-1]) == content(serial[run][-1])
        assert [type(each) for each in news if isinstance(each, EpochResult)] == [EpochResult]
        assert news[-1].threads == 1
    assert (environment, threads, cores) == (
        dict(os.environ),
        torch.get_num_threads(),
        os.sched_getaffinity(0),
    )


def test_a_dead_workers_run_begins_again_and_fails_at_the_third_death(
    digits: ImageDataset, models: str, tmp_path: Path
) -> None:
    once = task(f"{models}:deadly(marker='{tmp_path / 'died'}')")
    always, diverging = task(f"{models}:deadly"), task("linear", 9, lr=1e38)
    others = [task("linear", seed) for seed in range(4)]

    ended = {
        run: news[-1]
        for run, news in outcomes([once, always, diverging, *others], digits, TWO_WORKERS).items()
    }

    assert len(ended) == 7
    undisturbed = outcomes([once, *others], digits, SERIAL)
    for run, news in undisturbed.items():
        assert content(ended[run]) == content(news[-1])
    failure = ended[always.run]
    assert isinstance(failure, RunFailure)
    assert failure.reason == (
        "its worker died 3 times, last by SIGKILL; too little memory is the usual cause"
    )
    assert failure_after_deaths("SIGSEGV").reason == "its worker died 3 times, last by SIGSEGV"
    diverged = ended[diverging.run]
    assert isinstance(diverged, RunFailure)
    assert "try a smaller --lr" in diverged.reason


def test_the_longest_runs_begin_first_once_it_is_known_which_they_are() -> None:
    waiting = deque(task(model, seed) for seed in range(2) for model in ("short", "long", "unknown"))
    took = {"short": 1.0, "long": 9.0}
    begun = [_longest(waiting, took).run for _ in range(6)]
    assert [(run.label, run.seed) for run in begun] == [
        (label, seed) for label in ("unknown", "long", "short") for seed in range(2)
    ]


def test_an_error_of_the_user_comes_out_as_it_is(digits: ImageDataset) -> None:
    with pytest.raises(DataError, match="val_size must be at least 1 and below the 1438 training images"):
        outcomes([task("linear", val_size=5_000)], digits, TWO_WORKERS)


def test_an_exception_in_a_model_ends_the_study_with_its_traceback(
    digits: ImageDataset, models: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TiebreakError, match=re.escape("models.py:broken, seed 0: an error ended the run")):
        outcomes([task(f"{models}:broken")], digits, TWO_WORKERS)
    assert "AssertionError: no training today" in capfd.readouterr().err


def test_closing_the_generator_leaves_no_worker(digits: ImageDataset) -> None:
    before = children(os.getpid())
    stream = execute([task("linear", seed, epochs=10_000) for seed in (0, 1)], digits, TWO_WORKERS)
    next(stream)
    assert len(children(os.getpid()) - before) == 3  # two workers and the fork server
    stream.close()
    assert children(os.getpid()) == before


def test_a_stop_reaches_the_workers_and_begins_no_further_run(digits: ImageDataset) -> None:
    stop = threading.Event()
    tasks = [task("linear", seed, epochs=10_000) for seed in range(4)]
    seen = set()
    for run, news in execute(tasks, digits, TWO_WORKERS, stop):  # ends, long before 10,000 epochs
        assert not isinstance(news, RunFinished | RunFailure)
        seen.add(run.seed)
        if len(seen) == 2:
            stop.set()
    assert seen == {0, 1}


def children(process: int) -> set[int]:
    """The process's children (Linux), zombies included."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return {int(child) for path in lists for child in path.read_text().split()}


DRIVER = """
from tiebreak.data.digits import digits_source
from test_executor import TWO_WORKERS, execute, task

tasks = [task("linear", seed, epochs=10_000) for seed in (0, 1)]
seen = set()
for run, news in execute(tasks, digits_source(0.2).build(), TWO_WORKERS):
    seen.add(run)
    if len(seen) == 2:
        print("both are under way", flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_do_not_outlive_their_driver(how: signal.Signals, tmp_path: Path) -> None:
    paths = [str(Path(__file__).parent), *sys.path]
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"both are under way\n"
        workers = [os.pidfd_open(worker) for worker in children(driver.pid)]
        assert len(workers) == 3  # and one of them the fork server
        assert list(tmp_path.glob("tiebreak-*"))
        if how == signal.SIGKILL:
            driver.send_signal(how)
        else:
            os.killpg(driver.pid, how)  # as terminals and schedulers do
        for worker in workers:
            assert select.select([worker], [], [], 60)[0], "the worker is still there"
            os.close(worker)
        errors = driver.communicate()[1].decode()
    assert errors.count("Traceback") == (how == signal.SIGINT)  # the driver's own KeyboardInterrupt
    assert not list(tmp_path.glob("tiebreak-*"))


def test_settings_that_do_not_fit_are_refused() -> None:
    for settings, complaint in [
        ({"workers": "many"}, "execution.workers: expected \"auto\" or a whole number from 1, got 'many'"),
        ({"workers": "0"}, 'execution.workers: expected "auto" or a whole number from 1, got 0'),
        ({"executor": "serial", "workers": 2}, 'workers is for executor = "processes", got it with "serial"'),
        ({"address": "head:6379"}, 'address is for executor = "ray", got it with "auto"'),
    ]:
        with pytest.raises(StudyError, match=re.escape(complaint)):
            interpret({"contenders": ["mlp"], "execution": settings}, {})
    assert interpret({"contenders": ["mlp"]}, {"workers": "3"})[1].workers == 3


def test_ray_that_is_not_installed_is_told(digits: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "tiebreak.study.ray_executor", raising=False)
    with pytest.raises(
        TiebreakError, match=re.escape('needs Ray, which is an extra: pip install "tiebreak[ray]".')
    ):
        outcomes([task("linear")], digits, Execution(executor="ray"))


def test_shared_arrays_are_the_data_set(digits: ImageDataset) -> None:
    with share_data(digits) as shared:
        again = open_shared(shared)
        assert again.fingerprint == digits.fingerprint
        assert np.array_equal(again.train_images.numpy(), digits.train_images.numpy())
        del again
    assert not shared.folder.exists()
