"""How many runs go side by side."""

import logging
import math
from pathlib import Path

import pytest
import torch

from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.models.catalog import build_model
from tiebreak.rng import global_stream
from tiebreak.study import resources
from tiebreak.study.plan import Execution
from tiebreak.study.resources import choose_workers, cpu_quota, estimate_memory, free_memory, output_bytes
from tiebreak.training.recipe import Recipe
from tiebreak.training.run import RunSpec


@pytest.fixture
def data() -> ImageDataset:
    images, labels = torch.zeros(2_000, 3, 32, 32, dtype=torch.uint8), torch.arange(2_000) % 10
    return make_dataset("blank", images, labels, images[:10], labels[:10], tuple("abcdefghij"))


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "available_cores", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(resources, "cpu_quota", lambda: math.inf)
    monkeypatch.setattr(resources, "free_memory", lambda: 10**12)


def specs(number: int, model: str = "mlp", epochs: int = 500) -> list[RunSpec]:
    return [
        RunSpec(model=model, recipe=Recipe(epochs=epochs), seed=seed, val_size=200) for seed in range(number)
    ]


@pytest.mark.usefixtures("four_cores")
def test_as_many_runs_as_cores_and_no_more_than_there_are(data: ImageDataset) -> None:
    assert choose_workers(specs(10), data, Execution(device="cpu")) == 4
    assert choose_workers(specs(3), data, Execution(device="cpu")) == 3
    assert choose_workers(specs(10), data, Execution(device="cpu", threads=2)) == 2
    assert choose_workers(specs(10), data, Execution(device="cpu", threads=8)) == 1
    assert choose_workers(specs(10), data, Execution(device="cpu", workers=7)) == 7
    assert choose_workers(specs(10), data, Execution(device="cpu", executor="serial")) == 1


@pytest.mark.usefixtures("four_cores")
def test_a_study_of_seconds_is_not_worth_workers(data: ImageDataset) -> None:
    short = specs(10, epochs=1)
    assert choose_workers(short, data, Execution(device="cpu")) == 1
    assert choose_workers(short, data, Execution(device="cpu", executor="processes")) == 4


@pytest.mark.usefixtures("four_cores")
def test_memory_bounds_the_workers_and_says_so(
    data: ImageDataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    each = estimate_memory(specs(1), data)
    monkeypatch.setattr(resources, "free_memory", lambda: 3 * each - 1)
    with caplog.at_level(logging.INFO):
        assert choose_workers(specs(10), data, Execution(device="cpu")) == 2
        assert choose_workers(specs(10), data, Execution(device="cpu", workers=3)) == 3
        assert choose_workers(specs(2), data, Execution(device="cpu")) == 2
    gigabytes = [f"{number * each / 1e9:.1f} GB" for number in (4, 3, 2)]
    free = f"{(3 * each - 1) / 1e9:.1f} GB"
    assert caplog.messages == [
        f"4 runs side by side need about {gigabytes[0]}, {free} are free: running 2 at a time.",
        f"3 runs side by side need about {gigabytes[1]}, only {free} are free; --workers auto would take 2.",
        f"2 runs side by side need about {gigabytes[2]}.",
    ]
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING, logging.INFO]


def test_what_a_model_puts_out_is_counted(data: ImageDataset) -> None:
    with global_stream(0, "init"):
        model = build_model("mlp(hidden_dim=8)", data.image_shape, data.num_classes)
    # Flattened image, two hidden layers' worth (before and after ReLU), dropout, logits; four bytes each.
    assert output_bytes(model, data.image_shape) == 4 * (3 * 32 * 32 + 8 + 8 + 8 + 10)
    assert estimate_memory(specs(1, "mlp(hidden_dim=4096)"), data) > estimate_memory(specs(1), data)


def test_control_groups_bound_cores_and_memory(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) == math.inf
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpu_quota(tmp_path) == math.inf
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert cpu_quota(tmp_path) == 2.5
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 7\ninactive_file 1000000\n")
    assert free_memory(tmp_path) == 3_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert (free_memory(tmp_path) or 0) > 3_000_000
