"""Adam's update by the compiled kernel is PyTorch's, bit for bit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tiebreak import kernels
from tiebreak.kernels import adam
from tiebreak.training.device import thread_count

needs_compiler = pytest.mark.skipif(not kernels.has_adam(), reason="needs a C++ compiler")


@needs_compiler
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
def test_updates_and_copies_are_the_twins_bit_for_bit(
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
            copy = torch.empty(shape, dtype=torch.bfloat16)
            for step, gradient in enumerate(gradients, start=1):
                update(parameter, gradient, average, square, copy, step, settings)
            results.append((parameter, average, square, copy))
            assert torch.equal(copy, parameter.bfloat16())
    assert all(map(torch.equal, *results))


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_parameters_of_other_types_are_pytorchs(dtype):
    settings = kernels.AdamSettings(
        lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False
    )
    gradient = torch.randn(64, generator=torch.Generator().manual_seed(0)).to(dtype)
    results = []
    for update in (kernels.adam_update, kernels.adam_update_twin):
        tensors = [torch.ones(64, dtype=dtype), torch.zeros(64, dtype=dtype), torch.zeros(64, dtype=dtype)]
        update(tensors[0], gradient, *tensors[1:], None, 1, settings)
        results.append(tensors)
    assert all(map(torch.equal, *results))


@needs_compiler
def test_pytorch_sees_that_the_parameter_has_changed():
    parameter, zeros = torch.ones(16), torch.zeros(16)
    before = parameter._version
    settings = kernels.AdamSettings(
        lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False
    )
    kernels.adam_update(parameter, torch.ones(16), zeros, zeros.clone(), None, 1, settings)
    assert parameter._version > before
    assert parameter.allclose(torch.tensor(0.9))


@needs_compiler
def test_a_kernel_that_rounds_otherwise_is_left_unused(monkeypatch, tmp_path, caplog):
    source = adam.SOURCE.read_text()
    slip = tmp_path / "slip.cpp"
    slip.write_text(
        source.replace("std::fma(s.beta2_rest * g, g, square[i] * s.beta2)", "s.beta2_rest * g * g")
    )
    assert slip.read_text() != source
    monkeypatch.setattr(adam, "SOURCE", slip)
    adam.load_adam.cache_clear()
    try:
        assert not kernels.has_adam()
        assert "Compiled slip gives other values than PyTorch" in caplog.text
    finally:
        adam.load_adam.cache_clear()
