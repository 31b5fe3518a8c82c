"""3x3 convolution with less than half the products, whatever layer comes after it.

By Winograd's F(2x2, 3x3), as `convolution.py` says; values agree with PyTorch's as closely as the number
format allows.

Shape letters: B images of a batch, C channels in, K channels out, H height, W width.
"""

import ctypes
from functools import lru_cache, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tiebreak.kernels.convolution import strides_of, values_and_gradients
from tiebreak.kernels.library import DTYPES, NUMBER, POINTER, call, kernel_variant, load_kernels

# Where it pays (docs/speed.md): with few channels most of the time goes to transforms, and in bfloat16 with
# very many to reading transformed filters.
LEAST_CHANNELS = 16
LEAST_FILTERS = {torch.float32: 512, torch.bfloat16: 576}
MOST_BF16_FILTERS_A_TILE = 32_768


def conv3x3(
    images: Float[Tensor, "B C H W"], weight: Float[Tensor, "K C 3 3"], bias: Float[Tensor, " K"] | None
) -> Float[Tensor, "B K H W"]:
    """Convolution with stride 1 and padding 1.

    Weight and bias are float32. Products are computed in the format of the images, which is the result's, and
    summed in float32. Compiled on a CPU (for bfloat16 with AVX512-BF16), for sizes for which it pays.
    """
    library = load_conv3x3() if _can_compute(images, weight, bias) and pays(images, weight) else None
    if library is None or not hasattr(library, f"conv3x3_{DTYPES[images.dtype]}"):
        return conv3x3_twin(images, weight, bias)
    return _compiled(images, weight, bias, library)


def conv3x3_twin(
    images: Float[Tensor, "B C H W"], weight: Float[Tensor, "K C 3 3"], bias: Float[Tensor, " K"] | None
) -> Float[Tensor, "B K H W"]:
    """`conv3x3` in PyTorch; the same values up to rounding."""
    return F.conv2d(
        images, weight.to(images.dtype), None if bias is None else bias.to(images.dtype), padding=1
    )


def pays(images: Float[Tensor, "B C H W"], weight: Float[Tensor, "K C 3 3"]) -> bool:
    """Whether the compiled kernel is faster than PyTorch for images and filters of these sizes."""
    tiles = -(-images.shape[2] // 2) * -(-images.shape[3] // 2)
    filters = weight.shape[0] * weight.shape[1]
    many_enough = min(weight.shape[:2]) >= LEAST_CHANNELS and filters >= LEAST_FILTERS[images.dtype]
    return many_enough and (images.dtype != torch.bfloat16 or filters <= MOST_BF16_FILTERS_A_TILE * tiles)


def load_conv3x3() -> ctypes.CDLL | None:
    """The compiled kernels; None where they cannot be had."""
    return _load(kernel_variant())


@lru_cache(maxsize=8)
def _load(variant: str | None) -> ctypes.CDLL | None:
    arguments = {
        "conv3x3": [*[POINTER] * 5, *[NUMBER] * 6],
        "conv3x3_images": [*[POINTER] * 4, *[NUMBER] * 6],
        "conv3x3_filters": [*[POINTER] * 4, *[NUMBER] * 6],
    }
    return load_kernels(variant, arguments, _gives_exact_values)


def _can_compute(images: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernel takes these; PyTorch says what is wrong with what fits neither."""
    return (
        images.is_cpu
        and weight.is_cpu
        and images.dtype in DTYPES
        and weight.dtype == torch.float32
        and images.dim() == 4
        and weight.shape[1:] == (images.shape[1], 3, 3)
        and (bias is None or (bias.is_cpu and bias.dtype == torch.float32 and bias.shape == weight.shape[:1]))
        and images.numel() > 0
    )


def _compiled(images: Tensor, weight: Tensor, bias: Tensor | None, library: ctypes.CDLL) -> Tensor:
    images = images.contiguous(memory_format=torch.channels_last)
    bias = None if bias is None else bias.contiguous()
    return _Conv3x3.apply(images, weight, bias, library)  # type: ignore[no-untyped-call]


class _Conv3x3(torch.autograd.Function):
    """Remembers its inputs."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, library: ctypes.CDLL
    ) -> Tensor:
        count, channels, height, width = images.shape
        shape = (count, len(weight), height, width)
        outputs = torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last)
        ctx.library = library
        ctx.sizes = (count, height, width, channels, len(weight), torch.get_num_threads())
        call(
            library,
            "conv3x3",
            images.dtype,
            images.data_ptr(),
            weight.data_ptr(),
            strides_of(weight),
            None if bias is None else bias.data_ptr(),
            outputs.data_ptr(),
            *ctx.sizes,
        )
        ctx.save_for_backward(images, weight)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        images, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_images = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_images = torch.empty_like(images)
            call(
                ctx.library,
                "conv3x3_images",
                images.dtype,
                gradient.data_ptr(),
                weight.data_ptr(),
                strides_of(weight),
                of_images.data_ptr(),
                *ctx.sizes,
            )
        if ctx.needs_input_grad[1]:
            of_weight = torch.empty_like(weight)
            call(
                ctx.library,
                "conv3x3_filters",
                images.dtype,
                gradient.data_ptr(),
                images.data_ptr(),
                of_weight.data_ptr(),
                strides_of(of_weight),
                *ctx.sizes,
            )
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3), dtype=torch.float32)
        return of_images, of_weight, of_bias, None


def _gives_exact_values(library: ctypes.CDLL) -> bool:
    """A trial of outputs and gradients on small whole numbers: no rounding, no order of sums changes them."""
    generator = torch.Generator().manual_seed(0)

    def draw(most: int, *shape: int) -> Tensor:
        return torch.randint(-most, most + 1, shape, generator=generator).double()

    images, gradient = draw(1, 2, 35, 6, 5), draw(2, 2, 36, 6, 5)
    weight, bias = 4 * draw(1, 36, 35, 3, 3) * (draw(9, 36, 35, 3, 3) == 0), draw(3, 36)
    exact = values_and_gradients(conv3x3_twin, (images, weight, bias), gradient)
    for dtype, name in DTYPES.items():
        if hasattr(library, f"conv3x3_{name}"):
            inputs = (images.to(dtype), weight.float(), bias.float())
            compiled = values_and_gradients(partial(_compiled, library=library), inputs, gradient.to(dtype))
            if not all(torch.equal(one.double(), other) for one, other in zip(compiled, exact, strict=True)):
                return False
    return True
