"""When a worker, its driver or the room for them ends: what is said, and that nothing is left."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from small_tasks import SERIAL, TWO_WORKERS, content, descendants, outcomes, task

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import TiebreakError
from tiebreak.study.where.execute import execute
from tiebreak.study.where.scratch import scratch_folder
from tiebreak.study.where.task import RunFailure, RunFinished, RunId, failure_after_deaths


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
from small_tasks import Execution, task
from tiebreak.study.where.execute import execute

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
    may = os.geteuid() == 0 and shutil.which("setpriv")
    if not may or subprocess.run([*become, "true"], check=False).returncode:
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
        # From Python 3.12 on, the first names the program that was to be started.
        reasons = ("[Errno 11] Resource temporarily unavailable", "can't start new thread")
        program = f"{reasons[0]}: {sys.executable!r}"
        assert answer.stdout in [f"{NO_ROOM.format(reason)}\n0\n" for reason in (*reasons, program)]


DRIVER = """
from tiebreak.data.digits import digits_source
from small_tasks import TWO_WORKERS, task
from tiebreak.study.where.execute import execute

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
