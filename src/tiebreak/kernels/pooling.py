"""2x2 max pooling with ReLU.

Shape letters: B images of a batch, C channels, H height, W width.
"""

import ctypes
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tiebreak.kernels.library import DTYPES, NUMBER, POINTER, call, kernel_variant, load_kernels


def max_pool_relu(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H//2 W//2"]:
    """The largest of each 2x2 pixels, then ReLU. Compiled for channels_last images on a CPU."""
    library = load_pooling() if _is_dense(images) else None
    return max_pool_relu_twin(images) if library is None else _compiled(images, library)


def max_pool_relu_twin(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H//2 W//2"]:
    """`max_pool_relu` in PyTorch; the same values and gradients."""
    return F.relu(F.max_pool2d(images, 2))


def load_pooling() -> ctypes.CDLL | None:
    """The compiled kernels; None where they cannot be had."""
    return _load(kernel_variant())


@lru_cache(maxsize=8)
def _load(variant: str | None) -> ctypes.CDLL | None:
    arguments = [*[POINTER] * 3, *[NUMBER] * 5]
    functions = {"pool_relu": arguments, "pool_relu_backward": arguments}
    return load_kernels(variant, functions, _gives_the_values_of_the_twin)


def _compiled(images: Tensor, library: ctypes.CDLL) -> Tensor:
    return _MaxPoolRelu.apply(images, library)  # type: ignore[no-untyped-call]


class _MaxPoolRelu(torch.autograd.Function):
    """Remembers of each output only which of the four pixels it came from, in one byte."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, library: ctypes.CDLL) -> Tensor:
        count, channels, height, width = images.shape
        shape = (count, channels, height // 2, width // 2)
        pooled = torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last)
        source = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        sizes = (count, height, width, channels, torch.get_num_threads())
        pointers = (images.data_ptr(), pooled.data_ptr(), source.data_ptr())
        call(library, "pool_relu", images.dtype, *pointers, *sizes)
        ctx.save_for_backward(source)
        ctx.library, ctx.shape = library, images.shape
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (source,) = ctx.saved_tensors
        count, channels, height, width = ctx.shape
        spread = torch.empty(ctx.shape, dtype=gradient.dtype, memory_format=torch.channels_last)
        if height % 2 or width % 2:  # the kernel leaves an odd last row and column as they are
            spread.zero_()
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        sizes = (count, height, width, channels, torch.get_num_threads())
        pointers = (gradient.data_ptr(), source.data_ptr(), spread.data_ptr())
        call(ctx.library, "pool_relu_backward", gradient.dtype, *pointers, *sizes)
        return spread, None


def _is_dense(images: Tensor) -> bool:
    """Whether the kernel can read these images: on the CPU, of its types, the channels innermost."""
    return (
        images.device.type == "cpu"
        and images.dtype in DTYPES
        and images.is_contiguous(memory_format=torch.channels_last)
    )


def _gives_the_values_of_the_twin(library: ctypes.CDLL) -> bool:
    """A trial of pooling and its gradient on values with ties."""
    values = torch.arange(2 * 40 * 5 * 6).mul(7919).remainder(23).sub(11)
    for dtype in DTYPES:
        images = values.to(dtype).view(2, 40, 5, 6).to(memory_format=torch.channels_last)
        results = []
        for pool in (max_pool_relu_twin, lambda images: _compiled(images, library)):
            images = images.detach().requires_grad_()
            with torch.enable_grad():
                pooled = pool(images)
                pooled.backward(torch.ones_like(pooled))
            results.append((pooled.detach(), images.grad))
        if not all(map(torch.equal, *results)):
            return False
    return True
