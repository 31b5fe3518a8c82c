"""Runs on real Ray: a cluster of two nodes that loses one, and a Ray of our own on this machine."""

import os
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator

import pytest
from test_executor import SERIAL, content, digits, models, outcomes, task

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import DataError, TiebreakError
from tiebreak.study.executor import RunFailure, RunFinished, execute
from tiebreak.study.plan import Execution
from tiebreak.training.checkpoint import Resumed
from tiebreak.training.loop import EpochResult

ray = pytest.importorskip("ray")
__all__ = ["digits", "models"]  # fixtures
pytestmark = pytest.mark.draws_globally  # Ray names things with Python's random


@pytest.fixture
def cluster() -> Iterator[object]:
    """Two nodes of one CPU each; the first holds the cluster's head. All addresses stay on this machine."""
    from ray.cluster_utils import Cluster

    # Not 127.0.0.1: Ray takes that to mean the address by which other machines see this one.
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "node_ip_address": "127.0.0.2"})
    try:
        nodes.add_node(num_cpus=1, node_ip_address="127.0.0.3")
        nodes.wait_for_nodes()
        ray.init(nodes.address, _node_ip_address="127.0.0.2", log_to_driver=False)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


def test_a_study_outlives_a_node_and_a_deadly_run(cluster: object, digits: ImageDataset, models: str) -> None:
    tasks = [task(name, seed, epochs=40) for seed in range(4) for name in ("linear", "mlp(hidden_dim=8)")]
    deadly = task(f"{models}:deadly")
    ended, resumed, under_way = {}, set(), set()
    for run, news in execute([*tasks, deadly], digits, Execution(device="cpu", executor="ray")):
        if isinstance(news, EpochResult):
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


def test_ray_starts_on_this_machine_and_leaves_nothing_behind(digits: ImageDataset) -> None:
    on_ray = Execution(device="cpu", executor="ray")
    handler, environment, hook = signal.getsignal(signal.SIGTERM), dict(os.environ), sys.excepthook
    news_of = defaultdict(list)
    with pytest.raises(DataError, match="val_size must be at least 1 and below the 1438 training images"):
        for run, news in execute([task("linear"), task("mlp", val_size=5_000)], digits, on_ray):
            news_of[run].append(news)
            assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.2"}
    assert not ray.is_initialized()
    assert (signal.getsignal(signal.SIGTERM), dict(os.environ), sys.excepthook) == (
        handler,
        environment,
        hook,
    )


def test_a_wrong_address_is_told(digits: ImageDataset) -> None:
    for address, complaint in [
        ("ray://127.0.0.1:10001", "Ray Client cannot stream a run's news. Submit the command as a job"),
        ("127.0.0.2:1", "No Ray cluster answers at 127.0.0.2:1: "),
    ]:
        with pytest.raises(TiebreakError, match=complaint):
            list(execute([task("linear")], digits, Execution(executor="ray", address=address)))
