"""Runs in worker processes: the bytes of a serial study, and what happens when something dies."""

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict, deque
from pathlib import Path

import numpy as np
import pytest
import torch

from tiebreak.data.dataset import ImageDataset
from tiebreak.data.digits import digits_source
from tiebreak.errors import DataError, StudyError, TiebreakError
from tiebreak.study.plan import Execution
from tiebreak.study.study_file import interpret
from tiebreak.study.where.execute import execute
from tiebreak.study.where.processes import Pool, _next_task
from tiebreak.study.where.scratch import scratch_folder
from tiebreak.study.where.shared_data import open_shared, share_data
from tiebreak.study.where.task import News, RunFailure, RunFinished, RunId, Task, failure_after_deaths
from tiebreak.study.where.worker import Setup
from tiebreak.training.loop import EpochResult
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.spec import RunSpec

SERIAL = Execution(device="cpu", executor="serial")
TWO_WORKERS = Execution(device="cpu", executor="processes", workers=2)

USER_MODELS = """
import os, pathlib, signal, warnings
import torch
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

class Unpicklable(nn.Linear):
    def forward(self, images):
        class Odd(BaseException):  # cannot be pickled, as nobody can import it
            pass
        if self.training:
            raise Odd("no training today")
        return super().forward(images.flatten(1))

def unpicklable(image_shape, num_classes):
    return Unpicklable(64, num_classes)

def float8(image_shape, num_classes):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
    model.register_buffer("scale", torch.zeros(3).to(torch.float8_e4m3fn))
    return model

class Warning(nn.Linear):
    def forward(self, images):
        warnings.warn("this layer will go", FutureWarning)
        return super().forward(images.flatten(1))

def warning(image_shape, num_classes):
    return Warning(64, num_classes)

class Tied(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.encode = nn.Linear(64, 64)
        self.decode = nn.Linear(64, 64)
        self.decode.weight = self.encode.weight
        self.head = nn.Linear(64, num_classes)

    def forward(self, images):
        return self.head(self.decode(self.encode(images.flatten(1)).relu()))

def tied(image_shape, num_classes):
    return Tied(num_classes)
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


def test_closing_the_generator_leaves_no_worker(digits: ImageDataset) -> None:
    before = descendants(os.getpid())
    stream = execute([task("linear", seed, epochs=10_000) for seed in (0, 1)], digits, TWO_WORKERS)
    next(stream)
    assert len(descendants(os.getpid()) - before) == 3  # two workers and the fork server
    stream.close()
    assert descendants(os.getpid()) == before


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


def test_a_stop_reaches_workers_that_somebody_has_paused(digits: ImageDataset) -> None:
    stop = threading.Event()
    under_way: set[RunId] = set()
    before = descendants(os.getpid())
    for run, _ in execute(
        [task("linear", seed, epochs=10_000) for seed in (0, 1)], digits, TWO_WORKERS, stop
    ):
        under_way.add(run)
        if len(under_way) == 2 and not stop.is_set():
            for process in descendants(os.getpid()) - before:
                os.kill(process, signal.SIGSTOP)
            stop.set()
    assert len(under_way) == 2


FEW_PROCESSES = """
import resource, sys
from tiebreak.data.digits import digits_source
from tiebreak.errors import TiebreakError
from tiebreak.study.where.task import RunFinished
from test_execute import Execution, execute, task

data, four = digits_source(0.2).build(), Execution(device="cpu", executor="processes", workers=4)
resource.setrlimit(resource.RLIMIT_NPROC, (int(sys.argv[1]),) * 2)
ended = 0
try:
    for _, news in execute([task("linear", seed) for seed in range(5)], data, four):
        ended += isinstance(news, RunFinished)
except TiebreakError as error:
    print(error)
print(ended)
"""
NO_ROOM = (
    "No worker process can be started ({}); end other processes, raise the limit on them (ulimit -u), "
    "or give --executor serial."
)


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_where_the_system_has_room_for_few_processes_fewer_compute(limit: int) -> None:
    """It counts the driver, its fork server, and each worker with its thread and the driver's for it."""
    # Limits on processes do not hold for root, so it becomes somebody who runs nothing else here.
    become = [
        "setpriv",
        "--reuid",
        "61234",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ]
    if os.geteuid() != 0 or subprocess.run([*become, "true"], check=False).returncode:
        pytest.skip("needs root and setpriv, to count the processes of a user who has no others")
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    answer = subprocess.run(
        [*become, sys.executable, "-c", FEW_PROCESSES, str(limit)],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "Traceback" not in answer.stderr
    if limit == 7:
        assert answer.stdout == "5\n"
        assert re.match(r"Only \d worker processes can be started \(.*\)\.\n", answer.stderr), answer.stderr
    else:
        reasons = ("[Errno 11] Resource temporarily unavailable", "can't start new thread")
        assert answer.stdout in [f"{NO_ROOM.format(reason)}\n0\n" for reason in reasons]


def descendants(process: int) -> set[int]:
    """The process's children and theirs (Linux), zombies included."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    children = {int(child) for path in lists for child in path.read_text().split()}
    return children.union(*map(descendants, children))


DRIVER = """
from tiebreak.data.digits import digits_source
from test_execute import TWO_WORKERS, execute, task

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
        workers = [os.pidfd_open(worker) for worker in descendants(driver.pid)]
        assert len(workers) == 3  # and one of them the fork server
        assert list(tmp_path.glob("tiebreak-*"))  # the data
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


def test_what_a_whole_tree_of_killed_processes_left_is_removed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import sys; from tiebreak.study.where.scratch import scratch_folder\n"
    program += "with scratch_folder() as folder: print(folder, flush=True); sys.stdin.read()"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "tiebreak-of-somebody").mkdir()
    folders = []
    holders = []
    for _ in range(2):
        holder = subprocess.Popen(
            [sys.executable, "-c", program],
            env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        folders.append(Path(holder.stdout.readline().strip()))
        holders.append(holder)
    dead, alive = folders
    with holders[0], holders[1]:
        holders[0].kill()
        holders[0].wait()
        assert dead.is_dir()
        with scratch_folder() as mine:
            assert sorted(tmp_path.iterdir()) == sorted([mine, alive, tmp_path / "tiebreak-of-somebody"])
        holders[1].communicate("")
    assert list(tmp_path.iterdir()) == [tmp_path / "tiebreak-of-somebody"]


def test_a_full_disk_for_temporary_files_is_told(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", tmp_path], check=False)
    if small.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        complaint = (
            r"/train_images\.npy cannot be written: .*\. Free some room there, or set TMPDIR to a folder"
        )
        with pytest.raises(TiebreakError, match=complaint):
            outcomes([task("linear")], digits, TWO_WORKERS)
        assert not list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", tmp_path], check=True)


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
