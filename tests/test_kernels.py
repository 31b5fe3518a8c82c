"""Compiled kernels against their twins in PyTorch."""

import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tiebreak import kernels

DTYPES = [torch.float32, torch.bfloat16]

needs_compiler = pytest.mark.skipif(kernels.load_kernels() is None, reason="needs a C++ compiler")


def few_values(shape: tuple[int, ...], seed: int, special: float | None = None) -> Tensor:
    """Values of which many are equal, some exactly 0, and perhaps some special."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-3, 4, shape, generator=generator).float() / 2
    if special is not None:
        values[torch.rand(shape, generator=generator) < 0.1] = special
    return values


def pooled_and_gradient(pool, images: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    pooled = pool(images)
    pooled.backward(weight)
    return pooled.detach(), images.grad


@needs_compiler
@given(
    batch=st.integers(1, 3),
    channels=st.sampled_from([1, 2, 3, 31, 32, 33, 70]),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    seed=st.integers(0, 1_000),
    special=st.sampled_from([None, float("nan"), float("inf"), -float("inf")]),
    dtype=st.sampled_from(DTYPES),
)
def test_pooling_and_its_gradient_are_the_twins_bit_for_bit(
    batch, channels, height, width, seed, special, dtype
):
    shape = (batch, channels, height, width)
    images = few_values(shape, seed, special).to(dtype, memory_format=torch.channels_last)
    weight = few_values((batch, channels, height // 2, width // 2), seed + 1).to(dtype)
    pooled, gradient = pooled_and_gradient(kernels.max_pool_relu, images, weight)
    expected, expected_gradient = pooled_and_gradient(kernels.max_pool_relu_twin, images, weight)
    assert torch.equal(pooled.nan_to_num(nan=123.0), expected.nan_to_num(nan=123.0))
    assert torch.equal(gradient, expected_gradient)
    assert pooled.is_contiguous(memory_format=torch.channels_last)


@needs_compiler
def test_pooling_of_other_layouts_and_types_goes_to_the_twin():
    images = few_values((2, 5, 6, 6), 0)
    for other in (images, images.double().to(memory_format=torch.channels_last)):
        assert torch.equal(kernels.max_pool_relu(other), kernels.max_pool_relu_twin(other))


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_gathered_images_are_the_twins_bit_for_bit(dtype, channels_last, channels):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, channels, 7, 5), dtype=torch.uint8, generator=generator)
    chosen = torch.tensor([3, 19, 0, 3])
    scale, shift = torch.rand(2, channels, 1, 1, generator=generator)
    arguments = (images, chosen, scale, shift, dtype, channels_last)
    batch, expected = kernels.gather_normalised(*arguments), kernels.gather_normalised_twin(*arguments)
    assert torch.equal(batch, expected)
    assert batch.dtype == dtype
    assert batch.stride() == expected.stride()


@needs_compiler
@pytest.mark.parametrize("wrong", [-1, 4])
def test_an_image_that_is_not_there_is_an_error_and_no_read_outside_memory(wrong):
    images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    one = torch.ones(1, 1, 1)
    with pytest.raises(IndexError, match=rf"there are images 0 to 3, asked for \[0, {wrong}\]"):
        kernels.gather_normalised(images, torch.tensor([0, wrong]), one, one)


def test_an_empty_choice_is_an_empty_batch():
    images, one = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.ones(1, 1, 1)
    none = torch.tensor([], dtype=torch.int64)
    assert kernels.gather_normalised(images, none, one, one).shape == (0, 1, 2, 2)


def test_without_a_compiler_the_twins_compute(monkeypatch, tmp_path):
    images = few_values((2, 5, 6, 6), 0).to(memory_format=torch.channels_last)
    with_kernels = kernels.max_pool_relu(images)
    monkeypatch.setenv("PATH", str(tmp_path))
    kernels.load_kernels.cache_clear()
    try:
        assert kernels.load_kernels() is None
        assert torch.equal(kernels.max_pool_relu(images), with_kernels)
    finally:
        kernels.load_kernels.cache_clear()


@needs_compiler
def test_what_was_compiled_is_kept_and_a_broken_source_is_told(monkeypatch, tmp_path):
    first = kernels.compile_kernels(tmp_path)
    made = first.stat().st_mtime_ns
    assert kernels.compile_kernels(tmp_path) == first
    assert first.stat().st_mtime_ns == made
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    broken = tmp_path / "broken.cpp"
    broken.write_text("this is not C++")
    monkeypatch.setattr(kernels, "SOURCE", Path(broken))
    with pytest.raises(subprocess.CalledProcessError):
        kernels.compile_kernels(tmp_path)


@needs_compiler
def test_kernels_that_give_other_values_are_left_unused(monkeypatch, tmp_path, caplog):
    wrong = tmp_path / "wrong.cpp"
    source = kernels.SOURCE.read_text()
    wrong.write_text(source.replace("(value > most)", "(value < most)"))
    assert wrong.read_text() != source
    monkeypatch.setattr(kernels, "SOURCE", wrong)
    kernels.load_kernels.cache_clear()
    try:
        assert kernels.load_kernels() is None
        assert "give other values than PyTorch" in caplog.text
    finally:
        kernels.load_kernels.cache_clear()
