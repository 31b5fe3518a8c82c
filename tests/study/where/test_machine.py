"""How many runs go side by side."""

import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.models.catalog import build_model
from tiebreak.rng import global_stream
from tiebreak.study.plan import Execution
from tiebreak.study.where.machine import (
    Machine,
    choose_workers,
    cpu_quota,
    estimate_needs,
    free_memory,
    output_bytes,
)
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.spec import RunSpec


@pytest.fixture
def data() -> ImageDataset:
    images, labels = torch.zeros(2_000, 3, 32, 32, dtype=torch.uint8), torch.arange(2_000) % 10
    return make_dataset("blank", images, labels, images[:10], labels[:10], tuple("abcdefghij"))


FOUR_CORES = Machine(kind="cpu", cores=4)


def specs(number: int, model: str = "mlp", epochs: int = 500) -> list[RunSpec]:
    return [
        RunSpec(model=model, recipe=Recipe(epochs=epochs), seed=seed, val_size=200) for seed in range(number)
    ]


def test_as_many_runs_as_cores_and_no_more_than_there_are(data: ImageDataset) -> None:
    assert choose_workers(specs(10), data, Execution(device="cpu"), FOUR_CORES) == 4
    assert choose_workers(specs(3), data, Execution(device="cpu"), FOUR_CORES) == 3
    assert choose_workers(specs(10), data, Execution(device="cpu", threads=2), FOUR_CORES) == 2
    assert choose_workers(specs(10), data, Execution(device="cpu", threads=8), FOUR_CORES) == 1
    assert choose_workers(specs(10), data, Execution(device="cpu", workers=7), FOUR_CORES) == 7
    assert choose_workers(specs(10), data, Execution(device="cpu", executor="serial"), FOUR_CORES) == 1


def test_a_study_of_seconds_is_not_worth_workers(data: ImageDataset) -> None:
    short = specs(10, epochs=1)
    assert choose_workers(short, data, Execution(device="cpu"), FOUR_CORES) == 1
    assert choose_workers(short, data, Execution(device="cpu", executor="processes"), FOUR_CORES) == 4


def test_memory_bounds_the_workers_and_says_so(data: ImageDataset, caplog: pytest.LogCaptureFixture) -> None:
    each = estimate_needs(specs(1), data).memory
    tight = replace(FOUR_CORES, memory=3 * each - 1)
    with caplog.at_level(logging.INFO):
        assert choose_workers(specs(10), data, Execution(device="cpu"), tight) == 2
        assert choose_workers(specs(10), data, Execution(device="cpu", workers=3), tight) == 3
        assert choose_workers(specs(2), data, Execution(device="cpu"), tight) == 2
    gigabytes = [f"{number * each / 1e9:.1f} GB" for number in (4, 3, 2)]
    free = f"{(3 * each - 1) / 1e9:.1f} GB"
    assert caplog.messages == [
        f"4 runs side by side need about {gigabytes[0]}, {free} are free: running 2 at a time.",
        f"3 runs side by side need about {gigabytes[1]}, only {free} are free; --workers auto would take 2.",
        f"2 runs side by side need about {gigabytes[2]}.",
    ]
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING, logging.INFO]


def test_a_gpu_is_given_to_one_run_at_a_time_unless_more_are_asked_for(
    data: ImageDataset, caplog: pytest.LogCaptureFixture
) -> None:
    """Of described machines: this one need have no GPU."""
    auto, three = Execution(executor="processes"), Execution(executor="processes", workers=3)
    one = Machine(kind="cuda", cores=16, gpu_memory=(10**11,))
    assert choose_workers(specs(10), data, auto, one) == 4
    assert choose_workers(specs(10), data, auto, replace(one, cores=3)) == 3
    assert choose_workers(specs(10), data, three, one) == 3
    assert choose_workers(specs(10), data, auto, replace(one, gpu_memory=(10**11,) * 2)) == 8
    assert choose_workers(specs(10), data, auto, replace(one, cores=2, gpu_memory=(10**11,) * 4)) == 2
    assert choose_workers(specs(10), data, auto, Machine(kind="mps", cores=8)) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    needs = estimate_needs(specs(1), data, on_gpu=True)
    both_full = replace(one, gpu_memory=(needs.gpu_memory,) * 2 + (needs.gpu_memory - 1,))
    assert choose_workers(specs(10), data, auto, both_full) == 2
    assert " GB of GPU memory, " in caplog.messages[-1]
    assert choose_workers(specs(10), data, three, replace(one, memory=2 * needs.memory)) == 3
    assert " GB of GPU memory" not in caplog.messages[-1]
    assert "--workers auto would take 2." in caplog.messages[-1]


def test_images_that_a_run_changes_are_its_own(data: ImageDataset) -> None:
    plain, on_gpu = estimate_needs(specs(1), data), estimate_needs(specs(1), data, on_gpu=True)
    whole = data.train_images.nbytes + data.test_images.nbytes
    for transforms, copies in [(("grayscale",), 1), (("grayscale", "blur(1)"), 2), (("noise(9)",) * 3, 2)]:
        changed = [spec.model_copy(update={"transforms": transforms}) for spec in specs(1)]
        assert estimate_needs([*specs(1), *changed], data).memory == plain.memory + copies * whole
        assert estimate_needs(changed, data, on_gpu=True).gpu_memory == on_gpu.gpu_memory
    assert on_gpu.gpu_memory > whole


def test_what_a_model_puts_out_is_counted(data: ImageDataset) -> None:
    with global_stream(0, "init"):
        model = build_model("mlp(hidden_dim=8)", data.image_shape, data.num_classes)
    # Flattened image, two hidden layers' worth (before and after ReLU), dropout, logits; four bytes each.
    assert output_bytes(model, data.image_shape) == 4 * (3 * 32 * 32 + 8 + 8 + 8 + 10)
    assert estimate_needs(specs(1, "mlp(hidden_dim=4096)"), data) > estimate_needs(specs(1), data)


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
