"""Runs on real Ray: a cluster of two nodes that loses one, and a Ray of our own on this machine."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_tasks import SERIAL, content, descendants, outcomes, task

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import DataError, TiebreakError
from tiebreak.study.plan import Execution
from tiebreak.study.where.execute import execute
from tiebreak.study.where.task import RunFailure, RunFinished
from tiebreak.training.checkpoint import Checkpoint, Resumed

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.draws_globally  # Ray names things with Python's random


@pytest.fixture
def cluster() -> Iterator[object]:
    """Two nodes of one CPU each; the first holds the cluster's head. All addresses stay on this machine."""
    from ray.cluster_utils import Cluster

    # Not 127.0.0.1: Ray takes that to mean the address by which other machines see this one.
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "node_ip_address": "127.0.0.2"})
    try:
        nodes.add_node(num_cpus=1, node_ip_address="127.0.0.3")
        nodes.wait_for_nodes(timeout=300)
        ray.init(nodes.address, _node_ip_address="127.0.0.2", log_to_driver=False)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


def test_a_study_outlives_a_node_and_a_deadly_run(cluster: object, digits: ImageDataset, models: str) -> None:
    tasks = [task(name, seed, epochs=40) for seed in range(4) for name in ("linear", "mlp(hidden_dim=8)")]
    deadly = task(f"{models}:deadly")
    ended, resumed, under_way = {}, set(), set()
    often = Execution(device="cpu", executor="ray", checkpoint_seconds=0.1)
    for run, news in execute([*tasks, deadly], digits, often):
        if isinstance(news, Checkpoint):
            under_way.add(run)
            if len(under_way - ended.keys()) == 2 and len(cluster.worker_nodes) == 1:
                # One run on each node: the second node's raylet is killed, and its run with it.
                cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        elif isinstance(news, Resumed):
            resumed.add(run)
        elif isinstance(news, RunFinished | RunFailure):
            ended[run] = news

    assert resumed & {task.run for task in tasks}, "no run went on elsewhere"
    for run, news in outcomes(tasks, digits, SERIAL).items():
        assert content(ended[run]) == content(news[-1])
    failure = ended[deadly.run]
    assert isinstance(failure, RunFailure)
    assert "its worker died 3 times, last by WorkerCrashedError" in failure.reason


def commands_below(process: int) -> dict[int, list[str]]:
    """The command lines of all processes that one has started, by id."""
    return {
        each: Path(f"/proc/{each}/cmdline").read_text().split("\0")
        for each in descendants(process)
        if Path(f"/proc/{each}/cmdline").is_file()
    }


def test_ray_starts_on_this_machine_and_leaves_nothing_behind(digits: ImageDataset) -> None:
    on_ray = Execution(device="cpu", executor="ray")
    handler, environment, hook = signal.getsignal(signal.SIGTERM), dict(os.environ), sys.excepthook
    before = descendants(os.getpid())
    seen = []
    with pytest.raises(DataError, match="val_size must be at least 1 and below the 1438 training images"):
        tasks = [task("linear", seed) for seed in range(os.cpu_count() or 1)]
        for run, _ in execute([*tasks, task("mlp", val_size=5_000)], digits, on_ray):
            seen.append(run)
            [raylet] = [line for line in commands_below(os.getpid()).values() if line[0].endswith("raylet")]
            assert "--node_ip_address=127.0.0.2" in raylet
    assert seen
    assert not ray.is_initialized()
    # A browser that other tests keep open starts and ends processes as it likes.
    left = {process: line for process, line in commands_below(os.getpid()).items() if process not in before}
    assert not [line for line in left.values() if "chrom" not in line[0]]
    assert (signal.getsignal(signal.SIGTERM), dict(os.environ), sys.excepthook) == (
        handler,
        environment,
        hook,
    )


def test_the_death_of_ray_is_told_in_one_line(
    digits: ImageDataset, capfd: pytest.CaptureFixture[str]
) -> None:
    finished = []
    with pytest.raises(TiebreakError, match=re.escape("Ray has died, and its driver with it (exit status ")):
        for run, news in execute(
            [task("linear"), task("linear", 1, epochs=100_000)],
            digits,
            Execution(device="cpu", executor="ray"),
        ):
            if isinstance(news, RunFinished):
                finished.append(run.seed)
                for process, line in commands_below(os.getpid()).items():
                    if line[0].endswith("raylet"):
                        os.kill(process, signal.SIGKILL)
    assert finished == [0]
    assert capfd.readouterr().err == ""


def test_ray_that_is_not_installed_is_told(digits: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(
        TiebreakError, match=re.escape('needs Ray, which is an extra: pip install "tiebreak[ray]".')
    ):
        outcomes([task("linear")], digits, Execution(executor="ray"))


def test_a_wrong_address_is_told(digits: ImageDataset) -> None:
    for address, complaint in [
        ("ray://127.0.0.1:10001", "Ray Client cannot stream a run's news. Submit the command as a job"),
        ("127.0.0.2:1", "No Ray cluster answers at 127.0.0.2:1: "),
    ]:
        with pytest.raises(TiebreakError, match=complaint):
            list(execute([task("linear")], digits, Execution(executor="ray", address=address)))
