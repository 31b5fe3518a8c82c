"""Convolution, ReLU and pooling in one: against float64, against PyTorch, and invariants."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernel_variants import skip_unless_convolution
from tiebreak import kernels
from tiebreak.kernels import convolution
from tiebreak.training.placement.device import thread_count

DTYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(autouse=True)
def whether_it_pays_or_not(monkeypatch):
    """So that small sizes go through the kernel, too."""
    monkeypatch.setattr(convolution, "LEAST_WINDOWS", 1)
    monkeypatch.setattr(convolution, "MOST_FILTERS_A_WINDOW", 10**9)


sizes = partial(
    given,
    batch=st.integers(1, 3),
    channels=st.sampled_from([1, 2, 3, 16, 33, 40]),
    filters=st.sampled_from([1, 5, 16, 32, 50]),
    height=st.integers(2, 19),
    width=st.integers(2, 19),
    seed=st.integers(0, 1_000),
)


def draw(seed: int, batch: int, channels: int, filters: int, height: int, width: int) -> list[Tensor]:
    """Images, weight, bias, and a gradient of the outputs."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [
        (batch, channels, height, width),
        (filters, channels, 3, 3),
        (filters,),
        (batch, filters, height // 2, width // 2),
    ]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def whole_numbers(tensors: list[Tensor]) -> list[Tensor]:
    """Of the signs, few of the weights and times 4: no transform, product or sum of these needs rounding."""
    images, weight, bias, gradient = (tensor.sign() for tensor in tensors)
    return [images, weight * (tensors[1].abs() > 1.5) * 4, bias, gradient]


def values_and_gradients(operation, images, weight, bias, gradient) -> list[Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in (images, weight, bias)]
    outputs = operation(*leaves)
    return [outputs.detach(), *torch.autograd.grad(outputs, leaves, gradient)]


@sizes(dtype=st.sampled_from(DTYPES))
@settings(max_examples=40)
def test_what_needs_no_rounding_is_exact(variant, dtype, **size):
    skip_unless_convolution(variant, dtype)
    images, weight, bias, gradient = whole_numbers(draw(**size))
    exact = values_and_gradients(
        kernels.conv_relu_pool_twin, images.double(), weight.double(), bias.double(), gradient.double()
    )
    compiled = values_and_gradients(
        kernels.conv_relu_pool, images.to(dtype), weight, bias, gradient.to(dtype)
    )
    for one, other in zip(compiled, exact, strict=True):
        assert torch.equal(one.double(), other)
    assert compiled[0].dtype == compiled[1].dtype == dtype
    assert compiled[2].dtype == compiled[3].dtype == torch.float32


@pytest.mark.parametrize(
    "size", [(4, 3, 32, 32, 32), (4, 32, 64, 16, 16), (2, 64, 128, 9, 7), (1, 3, 16, 6, 150)]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_have_at_most_twice_the_error_of_pytorch(variant, size, dtype):
    skip_unless_convolution(variant, dtype)
    images, weight, bias, _ = draw(0, *size)
    images = images.to(dtype)
    exact = kernels.conv_relu_pool_twin(images.double(), weight.double(), bias.double())

    def error(outputs: Tensor) -> float:
        return float((outputs.double() - exact).norm() / exact.norm())

    theirs = error(kernels.conv_relu_pool_twin(images, weight, bias))
    ours = error(kernels.conv_relu_pool(images, weight, bias))
    assert 0 < ours <= 2 * theirs < (0.01 if dtype == torch.bfloat16 else 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_of_images_and_weights_change_no_bit(variant, dtype):
    skip_unless_convolution(variant, dtype)
    images, weight, bias, gradient = draw(1, 3, 20, 40, 10, 12)
    results = [
        values_and_gradients(
            kernels.conv_relu_pool,
            images.to(dtype, memory_format=layout),
            weight.to(memory_format=weight_layout),
            bias,
            gradient.to(dtype, memory_format=layout),
        )
        for layout in (torch.contiguous_format, torch.channels_last)
        for weight_layout in (torch.contiguous_format, torch.channels_last)
    ]
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))
    assert results[3][2].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_do_not_depend_on_threads_and_gradients_repeat(variant, dtype):
    skip_unless_convolution(variant, dtype)
    images, weight, bias, gradient = draw(2, 5, 8, 16, 12, 12)
    inputs = (images.to(dtype), weight, bias, gradient.to(dtype))
    with thread_count(1):
        alone = values_and_gradients(kernels.conv_relu_pool, *inputs)
    with thread_count(2):
        shared, again = (values_and_gradients(kernels.conv_relu_pool, *inputs) for _ in range(2))
    assert all(map(torch.equal, shared, again))
    assert torch.equal(shared[0], alone[0])
    assert torch.equal(shared[1], alone[1])
    # Sums over images are taken thread by thread.
    torch.testing.assert_close(shared[2:], alone[2:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("special", [float("nan"), float("inf")])
def test_what_is_not_finite_reaches_the_outputs(variant, dtype, special):
    skip_unless_convolution(variant, dtype)
    images, weight, bias, _ = draw(3, 1, 4, 6, 8, 8)
    images[0, 2, 5, 5] = special
    outputs = kernels.conv_relu_pool(images.to(dtype), weight, bias)
    assert not outputs.isfinite().all()
    assert outputs[0, :, 0, 0].isfinite().all()  # which does not see that pixel


def test_gradients_that_nobody_wants_are_not_computed(variant):
    images, weight, bias, gradient = draw(4, 2, 3, 4, 6, 6)
    weight.requires_grad_()
    kernels.conv_relu_pool(images, weight, bias).backward(gradient)
    assert images.grad is None
    assert bias.grad is None
    assert weight.grad is not None


def test_what_the_kernel_cannot_compute_goes_to_the_twin(variant):
    images, weight, bias, _ = draw(5, 2, 3, 4, 6, 6)
    for inputs in ((images.double(), weight.double(), bias.double()), (images[:0], weight, bias)):
        assert torch.equal(kernels.conv_relu_pool(*inputs), kernels.conv_relu_pool_twin(*inputs))
    with pytest.raises(RuntimeError, match="Output size is too small"):
        kernels.conv_relu_pool(images[:, :, :1], weight, bias)


def test_sizes_for_which_it_does_not_pay_go_to_pytorch(variant, monkeypatch):
    images, weight, bias, _ = draw(6, 2, 20, 24, 8, 8)
    images = images.to(memory_format=torch.channels_last)
    plain = kernels.conv_relu_pool_twin(images, weight, bias)
    assert not torch.equal(kernels.conv_relu_pool(images, weight, bias), plain)
    monkeypatch.setattr(convolution, "LEAST_WINDOWS", 17)
    assert torch.equal(kernels.conv_relu_pool(images, weight, bias), plain)
    monkeypatch.setattr(convolution, "LEAST_WINDOWS", 16)
    monkeypatch.setattr(convolution, "MOST_FILTERS_A_WINDOW", 29)
    assert torch.equal(kernels.conv_relu_pool(images, weight, bias), plain)
    monkeypatch.setattr(convolution, "MOST_FILTERS_A_WINDOW", 30)
    assert not torch.equal(kernels.conv_relu_pool(images, weight, bias), plain)


def test_processors_that_round_once_give_the_same_bytes():
    """However wide their vectors are: the order of sums is the same."""
    inputs = draw(7, 3, 33, 40, 11, 18)
    results = {}
    for name in kernels.usable_variants():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TIEBREAK_KERNELS", name)
            if name != "baseline":
                results[name] = values_and_gradients(kernels.conv_relu_pool, *inputs)
    if len(results) < 2:
        pytest.skip("needs a processor with two variants that multiply and add at once")
    first, *others = results.values()
    for other in others:
        assert all(map(torch.equal, first, other))


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_what_is_not_in_the_cpus_memory_is_not_read(variant, moved):
    inputs = draw(8, 2, 3, 4, 6, 6)[:3]
    inputs[moved] = inputs[moved].to("meta")
    assert not convolution._can_compute(*inputs)
    inputs = [tensor.to("meta") for tensor in inputs]
    assert kernels.conv_relu_pool(*inputs).device.type == "meta"
