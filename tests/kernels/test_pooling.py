"""Pooling by the compiled kernel is the twin's, bit for bit."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tiebreak import kernels

DTYPES = [torch.float32, torch.bfloat16]


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
    variant, batch, channels, height, width, seed, special, dtype
):
    assert kernels.has_pooling()
    shape = (batch, channels, height, width)
    images = few_values(shape, seed, special).to(dtype, memory_format=torch.channels_last)
    weight = few_values((batch, channels, height // 2, width // 2), seed + 1).to(dtype)
    pooled, gradient = pooled_and_gradient(kernels.max_pool_relu, images, weight)
    expected, expected_gradient = pooled_and_gradient(kernels.max_pool_relu_twin, images, weight)
    assert torch.equal(pooled.nan_to_num(nan=123.0), expected.nan_to_num(nan=123.0))
    assert torch.equal(gradient, expected_gradient)
    assert pooled.is_contiguous(memory_format=torch.channels_last)


def test_pooling_of_other_layouts_and_types_goes_to_the_twin(variant):
    images = few_values((2, 5, 6, 6), 0)
    for other in (images, images.double().to(memory_format=torch.channels_last)):
        assert torch.equal(kernels.max_pool_relu(other), kernels.max_pool_relu_twin(other))
