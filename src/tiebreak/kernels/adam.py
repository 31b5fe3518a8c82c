"""One update by Adam or AdamW that takes the gradient in bfloat16, as linear layers compute it."""

import ctypes
import math
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from tiebreak.kernels.library import DTYPES, NUMBER, POINTER, call, kernel_variant, load_kernels

VECTOR = 16  # float32 numbers in the longest vector of a CPU


@dataclass(frozen=True, kw_only=True)
class AdamSettings:
    """Of one update; the names are those of `torch.optim.Adam`."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    decoupled_weight_decay: bool  # AdamW


def adam_update(
    parameter: Tensor,
    gradient: Tensor,
    average: Tensor,
    square: Tensor,
    step: int,
    settings: AdamSettings,
) -> None:
    """Update a parameter and its running averages (of gradients and their squares) in place.

    `gradient`: float32 or bfloat16; `step`: the number of this update, from 1. Compiled on a CPU, for
    parameters in float32.

    Raises: ValueError if the averages are not laid out in memory as the parameter is.
    """
    if not parameter.stride() == average.stride() == square.stride():
        # PyTorch's fused loop would walk through them side by side all the same.
        raise ValueError(
            f"averages must be laid out as the parameter is, in strides {parameter.stride()}, "
            f"got {average.stride()} and {square.stride()}; torch.empty_like(parameter) is"
        )
    if gradient.stride() != parameter.stride():
        gradient = torch.empty_like(parameter, dtype=gradient.dtype).copy_(gradient)
    can = _can_compute(parameter, gradient, average, square, settings)
    library = load_adam() if can else None
    if library is None:
        adam_update_twin(parameter, gradient, average, square, step, settings)
    else:
        _compiled(parameter, gradient, average, square, step, settings, library)


@torch.no_grad()
def adam_update_twin(
    parameter: Tensor,
    gradient: Tensor,
    average: Tensor,
    square: Tensor,
    step: int,
    settings: AdamSettings,
) -> None:
    """`adam_update` by PyTorch's own fused loop; the same values."""
    update = torch._fused_adamw_ if settings.decoupled_weight_decay else torch._fused_adam_
    update(
        [parameter],
        [gradient.to(parameter.dtype)],
        [average],
        [square],
        [],
        [torch.tensor(float(step))],
        lr=settings.lr,
        beta1=settings.beta1,
        beta2=settings.beta2,
        weight_decay=settings.weight_decay,
        eps=settings.eps,
        amsgrad=False,
        maximize=False,
    )


def load_adam() -> ctypes.CDLL | None:
    """The compiled kernel; None where it cannot be had."""
    return _load(kernel_variant())


@lru_cache(maxsize=8)
def _load(variant: str | None) -> ctypes.CDLL | None:
    return load_kernels(variant, {"adam": [*[POINTER] * 5, *[NUMBER] * 2]}, _gives_the_values_of_the_twin)


def _can_compute(
    parameter: Tensor,
    gradient: Tensor,
    average: Tensor,
    square: Tensor,
    settings: AdamSettings,
) -> bool:
    return (
        parameter.is_cpu
        and gradient.is_cpu
        and average.is_cpu
        and square.is_cpu
        and parameter.dtype == average.dtype == square.dtype == torch.float32
        and gradient.dtype in DTYPES
        and _is_dense(parameter)  # and so the others
        # There PyTorch's loop rounds otherwise.
        and parameter.numel() % VECTOR == 0
        and settings.beta1 > 0.5
    )


def _is_dense(tensor: Tensor) -> bool:
    """Whether its numbers fill its memory without gaps, in whatever order."""
    return torch.ops.aten.is_non_overlapping_and_dense(tensor)


def _compiled(
    parameter: Tensor,
    gradient: Tensor,
    average: Tensor,
    square: Tensor,
    step: int,
    settings: AdamSettings,
    library: ctypes.CDLL,
) -> None:
    call(
        library,
        "adam",
        gradient.dtype,
        parameter.data_ptr(),
        gradient.data_ptr(),
        average.data_ptr(),
        square.data_ptr(),
        _numbers(step, settings),
        parameter.numel(),
        torch.get_num_threads(),
    )
    torch.autograd.graph.increment_version(parameter)  # a change that PyTorch cannot see for itself


@lru_cache(maxsize=8)
def _numbers(step: int, settings: AdamSettings) -> ctypes.Array[ctypes.c_float]:
    """What the kernel is told, the same for all parameters."""
    decoupled = settings.decoupled_weight_decay
    return (ctypes.c_float * 8)(
        1 - settings.beta1,
        settings.beta2,
        1 - settings.beta2,
        settings.eps,
        settings.lr / (1 - settings.beta1**step),
        math.sqrt(1 - settings.beta2**step),
        0.0 if decoupled else settings.weight_decay,
        1 - settings.lr * settings.weight_decay if decoupled else 1.0,
    )


def _gives_the_values_of_the_twin(library: ctypes.CDLL) -> bool:
    """A few updates with and without weight decay, on numbers of many sizes."""
    generator = torch.Generator().manual_seed(0)
    for decay, decoupled in ((0.0, False), (0.05, False), (0.05, True)):
        settings = AdamSettings(
            lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=decay, decoupled_weight_decay=decoupled
        )
        for dtype in DTYPES:
            start = torch.randn(1_008, generator=generator)
            gradients = [(torch.randn(1_008, generator=generator) ** 5).mul(0.1).to(dtype) for _ in range(3)]
            results = []
            for update in (adam_update_twin, partial(_compiled, library=library)):
                tensors = [start.clone(), torch.zeros(1_008), torch.zeros(1_008)]
                for step, gradient in enumerate(gradients, start=1):
                    update(tensors[0], gradient, tensors[1], tensors[2], step, settings)
                results.append(tensors)
            if not all(map(torch.equal, *results)):
                return False
    return True
