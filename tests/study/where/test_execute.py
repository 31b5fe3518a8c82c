"""Runs in worker processes: the bytes of a serial study, and what happens when something dies."""

import os
import re
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
from small_tasks import SERIAL, TWO_WORKERS, content, outcomes, task

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import DataError, StudyError, TiebreakError
from tiebreak.study.study_file import interpret
from tiebreak.study.where.processes import Pool, _next_task
from tiebreak.study.where.shared_data import open_shared, share_data
from tiebreak.study.where.task import RunFailure, RunFinished
from tiebreak.study.where.worker import Setup
from tiebreak.training.loop import EpochResult


def test_workers_give_the_bytes_of_a_serial_study(
    digits: ImageDataset, models: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(models).parent)  # workers find a file by its relative path, too
    names = ["linear", "mlp(hidden_dim=8, dropout=0.2)", "models.py:talking", "models.py:tied"]
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


def test_seeds_begin_in_their_order_and_of_each_the_longest_runs_first(digits: ImageDataset) -> None:
    tasks = [task(model, seed) for seed in range(2) for model in ("short", "long", "unknown")]
    with share_data(digits) as shared:
        setup = Setup(data=shared, execution=TWO_WORKERS)
    pool = Pool(server=None, setup=setup, size=2, waiting=deque(tasks), took={"short": 1.0, "long": 9.0})
    begun = [_next_task(pool) for _ in range(6)]
    assert [(each.run.seed, each.run.label) for each in begun if each] == [
        (seed, label) for seed in range(2) for label in ("unknown", "long", "short")
    ]
    assert _next_task(pool) is None


def test_an_error_of_the_user_comes_out_as_it_is(digits: ImageDataset) -> None:
    with pytest.raises(DataError, match="val_size must be at least 1 and below the 1438 training images"):
        outcomes([task("linear", val_size=5_000)], digits, TWO_WORKERS)


def test_an_exception_in_a_model_fails_its_run_in_one_line_and_the_others_go_on(
    digits: ImageDataset, models: str
) -> None:
    broken, fine = task(f"{models}:broken"), task("linear")
    for execution in (SERIAL, TWO_WORKERS):
        ended = outcomes([broken, fine], digits, execution)
        failure = ended[broken.run][-1]
        assert isinstance(failure, RunFailure)
        assert re.fullmatch(
            r".*:broken failed in its run: AssertionError: no training today \(.*, line \d+: .*\)",
            failure.reason,
        )
        assert isinstance(ended[fine.run][-1], RunFinished)


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("unpicklable", "an error ended the run; its traceback is above."),
        ("float8", "what the run gives cannot be sent from process to process ("),
    ],
)
def test_whatever_a_worker_cannot_say_is_said_in_one_line(
    model: str, complaint: str, digits: ImageDataset, models: str, capfd: pytest.CaptureFixture[str]
) -> None:
    name = f"{models}:{model}"
    with pytest.raises(TiebreakError, match=re.escape(f"{name}, seed 0: {complaint}")):
        outcomes([task(name)], digits, TWO_WORKERS)
    assert ("Odd: no training today" in capfd.readouterr().err) == (model == "unpicklable")


@pytest.mark.filterwarnings("ignore:this layer will go")  # of this process, which tries the model first
def test_a_warning_comes_once_from_all_workers(
    digits: ImageDataset, models: str, capfd: pytest.CaptureFixture[str]
) -> None:
    outcomes([task(f"{models}:warning", seed) for seed in range(4)], digits, TWO_WORKERS)
    errors = capfd.readouterr().err
    assert errors.count("FutureWarning: this layer will go") == 1
    assert models in errors


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


def test_shared_arrays_are_the_data_set(digits: ImageDataset) -> None:
    with share_data(digits) as shared:
        again = open_shared(shared)
        assert again.fingerprint == digits.fingerprint
        assert np.array_equal(again.train_images.numpy(), digits.train_images.numpy())
        del again
    assert not shared.folder.exists()
