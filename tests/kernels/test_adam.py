"""Adam's update by the compiled kernel is PyTorch's, bit for bit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tiebreak import kernels
from tiebreak.kernels import adam
from tiebreak.training.placement.device import thread_count


@pytest.fixture(autouse=True)
def with_adam(variant):
    if not kernels.has_adam():
        assert variant == "baseline"
        pytest.skip("baseline has no instruction for a product and a sum, and no Adam")


@given(
    shape=st.sampled_from([(16,), (10,), (1,), (7, 5), (512, 40), (33, 16)]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    lr=st.floats(1e-6, 1.0),
    weight_decay=st.sampled_from([0.0, 0.01, 0.5]),
    decoupled=st.booleans(),
    beta1=st.sampled_from([0.9, 0.3]),
    steps=st.integers(1, 5),
    threads=st.sampled_from([1, 2]),
    seed=st.integers(0, 1_000),
)
def test_updates_are_the_twins_bit_for_bit(
    shape, dtype, lr, weight_decay, decoupled, beta1, steps, threads, seed
):
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(shape, generator=generator)
    gradients = [(torch.randn(shape, generator=generator) ** 7).to(dtype) for _ in range(steps)]
    settings = kernels.AdamSettings(
        lr=lr,
        beta1=beta1,
        beta2=0.999,
        eps=1e-8,
        weight_decay=weight_decay,
        decoupled_weight_decay=decoupled,
    )
    results = []
    with thread_count(threads):
        for update in (kernels.adam_update, kernels.adam_update_twin):
            parameter, average, square = start.clone(), torch.zeros(shape), torch.zeros(shape)
            for step, gradient in enumerate(gradients, start=1):
                update(parameter, gradient, average, square, step, settings)
            results.append((parameter, average, square))
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_parameters_of_other_types_are_pytorchs(dtype):
    settings = kernels.AdamSettings(
        lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False
    )
    gradient = torch.randn(64, generator=torch.Generator().manual_seed(0)).to(dtype)
    results = []
    for update in (kernels.adam_update, kernels.adam_update_twin):
        tensors = [torch.ones(64, dtype=dtype), torch.zeros(64, dtype=dtype), torch.zeros(64, dtype=dtype)]
        update(tensors[0], gradient, *tensors[1:], 1, settings)
        results.append(tensors)
    assert all(map(torch.equal, *results))


def test_pytorch_sees_that_the_parameter_has_changed():
    parameter, zeros = torch.ones(16), torch.zeros(16)
    before = parameter._version
    settings = kernels.AdamSettings(
        lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False
    )
    kernels.adam_update(parameter, torch.ones(16), zeros, zeros.clone(), 1, settings)
    assert parameter._version > before
    assert parameter.allclose(torch.tensor(0.9))


def test_memory_in_another_order_is_never_mixed_up():
    settings = kernels.AdamSettings(
        lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False
    )
    generator = torch.Generator().manual_seed(0)
    parameter, gradient, average, square = (torch.rand(16, 32, generator=generator) for _ in range(4))

    def in_other_order(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.t().contiguous().t()

    expected = parameter.clone()
    kernels.adam_update_twin(expected, gradient, average.clone(), square.clone(), 1, settings)
    result = parameter.clone()
    kernels.adam_update(result, in_other_order(gradient), average.clone(), square.clone(), 1, settings)
    assert torch.equal(result, expected)
    for averages in ((in_other_order(average), square), (average, in_other_order(square))):
        with pytest.raises(
            ValueError, match=r"averages must be laid out as the parameter is, in strides \(32, 1\)"
        ):
            kernels.adam_update(parameter, gradient, *averages, 1, settings)


@pytest.mark.parametrize("which", ["gradient", "average", "square"])
def test_what_is_not_in_the_cpus_memory_is_not_read(which):
    settings = kernels.AdamSettings(
        lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False
    )
    tensors = {name: torch.zeros(16) for name in ("parameter", "gradient", "average", "square")}
    assert adam._can_compute(*tensors.values(), settings)
    tensors[which] = tensors[which].to("meta")
    assert not adam._can_compute(*tensors.values(), settings)
