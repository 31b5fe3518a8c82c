"""3x3 convolution alone: against float64, against PyTorch, and invariants."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernel_variants import skip_unless_convolution
from tiebreak import kernels
from tiebreak.kernels import plain_convolution
from tiebreak.kernels.convolution import values_and_gradients
from tiebreak.training.placement.device import thread_count

DTYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(autouse=True)
def whether_it_pays_or_not(monkeypatch):
    """So that small sizes go through the kernel, too."""
    monkeypatch.setattr(plain_convolution, "LEAST_CHANNELS", 1)
    monkeypatch.setattr(plain_convolution, "LEAST_FILTERS", dict.fromkeys(DTYPES, 1))
    monkeypatch.setattr(plain_convolution, "MOST_BF16_FILTERS_A_TILE", 10**9)


def draw(seed: int, batch: int, channels: int, filters: int, height: int, width: int) -> list[Tensor]:
    """Images, weight, bias, and a gradient of the outputs."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [
        (batch, channels, height, width),
        (filters, channels, 3, 3),
        (filters,),
        (batch, filters, height, width),
    ]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def all_of(operation, images, weight, bias, gradient) -> list[Tensor]:
    return values_and_gradients(operation, (images, weight, bias), gradient)


@given(
    batch=st.sampled_from([1, 2, 3, 9]),
    channels=st.sampled_from([1, 3, 16, 33, 40]),
    filters=st.sampled_from([1, 5, 16, 32, 50]),
    height=st.integers(1, 18),
    width=st.integers(1, 18),
    threads=st.sampled_from([1, 2]),
    seed=st.integers(0, 1_000),
    dtype=st.sampled_from(DTYPES),
)
@settings(max_examples=40)
def test_what_needs_no_rounding_is_exact(variant, dtype, threads, **size):
    if not kernels.has_convolution(dtype):
        return
    drawn = draw(**size)
    images, weight, bias, gradient = (tensor.sign() for tensor in drawn)
    weight = weight * (drawn[1].abs() > 1.5) * 4
    exact = all_of(kernels.conv3x3_twin, *(each.double() for each in (images, weight, bias, gradient)))
    with thread_count(threads):
        compiled = all_of(kernels.conv3x3, images.to(dtype), weight, bias, gradient.to(dtype))
    for one, other in zip(compiled, exact, strict=True):
        assert torch.equal(one.double(), other)
    assert compiled[0].dtype == compiled[1].dtype == dtype
    assert compiled[2].dtype == compiled[3].dtype == torch.float32


@pytest.mark.parametrize(
    "size", [(4, 32, 64, 16, 16), (2, 64, 128, 9, 7), (20, 48, 32, 4, 4), (3, 16, 16, 5, 90)]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_gradients_have_at_most_thrice_the_error_of_pytorch(variant, size, dtype):
    skip_unless_convolution(variant, dtype)
    images, weight, bias, gradient = draw(0, *size)
    images, gradient = images.to(dtype), gradient.to(dtype)
    exact = all_of(kernels.conv3x3_twin, images.double(), weight.double(), bias.double(), gradient.double())
    theirs = all_of(kernels.conv3x3_twin, images, weight, bias, gradient)
    ours = all_of(kernels.conv3x3, images, weight, bias, gradient)
    for mine, plain, true in zip(ours[:3], theirs, exact, strict=False):
        error, usual = (float((each.double() - true).norm() / true.norm()) for each in (mine, plain))
        assert 0 < error <= 3 * usual < (0.015 if dtype == torch.bfloat16 else 2e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_change_no_bit_and_a_bias_may_be_missing(variant, dtype):
    skip_unless_convolution(variant, dtype)
    images, weight, _, gradient = draw(1, 3, 20, 40, 7, 12)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        leaves = [
            images.to(dtype, memory_format=layout).requires_grad_(),
            weight.clone(memory_format=layout).requires_grad_(),
        ]
        outputs = kernels.conv3x3(*leaves, None)
        gradients = torch.autograd.grad(outputs, leaves, gradient.to(dtype, memory_format=layout))
        results.append([outputs.detach(), *gradients])
        assert gradients[1].is_contiguous(memory_format=layout)
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_do_not_depend_on_threads_or_the_rest_of_the_batch(variant, dtype):
    skip_unless_convolution(variant, dtype)
    images, weight, bias, gradient = draw(2, 11, 16, 24, 6, 6)
    inputs = (images.to(dtype), weight, bias, gradient.to(dtype))
    with thread_count(1):
        alone = all_of(kernels.conv3x3, *inputs)
    with thread_count(2):
        shared, again = (all_of(kernels.conv3x3, *inputs) for _ in range(2))
    assert all(map(torch.equal, shared, again))
    assert all(map(torch.equal, shared[:2], alone[:2]))
    torch.testing.assert_close(shared[2:], alone[2:], rtol=1e-4, atol=1e-4)
    assert torch.equal(kernels.conv3x3(inputs[0][3:5], weight, bias), alone[0][3:5])


def test_processors_that_round_once_give_the_same_bytes():
    inputs = draw(3, 3, 33, 40, 11, 18)
    results = []
    for name in kernels.usable_variants():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TIEBREAK_KERNELS", name)
            if name != "baseline":
                results.append(all_of(kernels.conv3x3, *inputs))
    if len(results) < 2:
        pytest.skip("needs a processor with two variants that multiply and add at once")
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_what_the_kernel_cannot_compute_goes_to_pytorch(variant):
    images, weight, bias, _ = draw(4, 2, 3, 4, 6, 6)
    for inputs in ((images.double(), weight.double(), bias.double()), (images[:0], weight, bias)):
        assert torch.equal(kernels.conv3x3(*inputs), kernels.conv3x3_twin(*inputs))
    for index in range(3):
        inputs = [images, weight, bias]
        inputs[index] = inputs[index].to("meta")
        assert not plain_convolution._can_compute(*inputs)


@pytest.mark.parametrize(
    ("dtype", "size", "expected"),
    [
        (torch.float32, (2, 16, 32, 8, 8), True),
        (torch.float32, (2, 16, 31, 8, 8), False),
        (torch.float32, (2, 15, 64, 8, 8), False),
        (torch.float32, (2, 512, 512, 1, 1), True),
        (torch.bfloat16, (2, 16, 35, 8, 8), False),
        (torch.bfloat16, (2, 16, 36, 8, 8), True),
        (torch.bfloat16, (2, 256, 512, 3, 4), True),
        (torch.bfloat16, (2, 256, 513, 3, 4), False),
    ],
)
def test_sizes_for_which_it_does_not_pay_go_to_pytorch(monkeypatch, dtype, size, expected):
    monkeypatch.undo()
    images, weight, _, _ = draw(5, *size)
    assert plain_convolution.pays(images.to(dtype), weight) == expected
