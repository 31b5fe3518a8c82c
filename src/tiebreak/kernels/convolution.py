"""3x3 convolution, ReLU and 2x2 max pooling as one operation, with less than half the products.

Winograd's F(2x2, 3x3) computes four neighbouring outputs from 16 products a channel instead of 36 (Lavin and
Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308). The sums are others than
PyTorch's, and so rounded otherwise: values agree as closely as the number format allows, not bit for bit.

Shape letters: B images of a batch, C channels in, K channels out, H height, W width.
"""

import ctypes
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tiebreak.kernels.library import DTYPES, NUMBER, POINTER, call, kernel_variant, load_kernels
from tiebreak.kernels.pooling import max_pool_relu

# Where it pays (docs/speed.md): with fewer windows of pooling in an image, or more filters for each, most of
# the time goes to reading transformed filters.
LEAST_WINDOWS, MOST_FILTERS_A_WINDOW = 16, 8_192


def conv_relu_pool(
    images: Float[Tensor, "B C H W"], weight: Float[Tensor, "K C 3 3"], bias: Float[Tensor, " K"]
) -> Float[Tensor, "B K H//2 W//2"]:
    """Convolution with stride 1 and padding 1, then ReLU, then the largest of each 2x2 pixels.

    Weight and bias are float32. Products are computed in the format of the images, which is the result's, and
    summed in float32. Compiled on a CPU (for bfloat16 with AVX512-BF16), for sizes for which it pays.
    """
    if has_convolution(images.dtype) and _can_compute(images, weight, bias) and pays(images, weight):
        library = load_convolution()
        assert library is not None
        return _compiled(images, weight, bias, library)
    outputs = F.conv2d(images, weight.to(images.dtype), bias.to(images.dtype), padding=1)
    return max_pool_relu(outputs)


def conv_relu_pool_twin(
    images: Float[Tensor, "B C H W"], weight: Float[Tensor, "K C 3 3"], bias: Float[Tensor, " K"]
) -> Float[Tensor, "B K H//2 W//2"]:
    """`conv_relu_pool` in PyTorch; the same values up to rounding."""
    outputs = F.conv2d(images, weight.to(images.dtype), bias.to(images.dtype), padding=1)
    return F.max_pool2d(F.relu(outputs), 2)


def pays(images: Float[Tensor, "B C H W"], weight: Float[Tensor, "K C 3 3"]) -> bool:
    """Whether the compiled kernel is faster than PyTorch for images and filters of these sizes."""
    windows = (images.shape[2] // 2) * (images.shape[3] // 2)
    filters = weight.shape[0] * weight.shape[1]
    return windows >= LEAST_WINDOWS and filters <= MOST_FILTERS_A_WINDOW * windows


def has_convolution(dtype: torch.dtype) -> bool:
    """Whether `conv_relu_pool` is compiled here for images of that format."""
    library = load_convolution() if dtype in DTYPES else None
    return library is not None and hasattr(library, f"conv_relu_pool_{DTYPES[dtype]}")


def load_convolution() -> ctypes.CDLL | None:
    """The compiled kernels; None where they cannot be had."""
    return _load(kernel_variant())


@lru_cache(maxsize=8)
def _load(variant: str | None) -> ctypes.CDLL | None:
    arguments = {
        "conv_relu_pool": [*[POINTER] * 6, *[NUMBER] * 6],
        "conv_relu_pool_images": [*[POINTER] * 5, *[NUMBER] * 6],
        "conv_relu_pool_filters": [*[POINTER] * 6, *[NUMBER] * 6],
    }
    return load_kernels(variant, arguments, _gives_exact_values)


def _can_compute(images: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Whether the kernel takes these; PyTorch says what is wrong with what fits neither."""
    return (
        images.is_cpu
        and weight.is_cpu
        and bias.is_cpu
        and weight.dtype == bias.dtype == torch.float32
        and weight.shape[1:] == (images.shape[1], 3, 3)
        and bias.shape == weight.shape[:1]
        and len(images) > 0
        and min(images.shape[2:]) >= 2
    )


def _compiled(images: Tensor, weight: Tensor, bias: Tensor, library: ctypes.CDLL) -> Tensor:
    images, bias = images.contiguous(memory_format=torch.channels_last), bias.contiguous()
    return _ConvReluPool.apply(images, weight, bias, library)  # type: ignore[no-untyped-call]


class _ConvReluPool(torch.autograd.Function):
    """Remembers its inputs, and of each output only which of the four pixels it came from."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, library: ctypes.CDLL) -> Tensor:
        count, channels, height, width = images.shape
        shape = (count, len(weight), height // 2, width // 2)
        pooled = torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last)
        source = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        ctx.library = library
        ctx.sizes = (count, height, width, channels, len(weight), torch.get_num_threads())
        call(
            library,
            "conv_relu_pool",
            images.dtype,
            images.data_ptr(),
            weight.data_ptr(),
            strides_of(weight),
            bias.data_ptr(),
            pooled.data_ptr(),
            source.data_ptr(),
            *ctx.sizes,
        )
        ctx.save_for_backward(images, weight, source)
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        images, weight, source = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_images = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_images = torch.empty_like(images)
            call(
                ctx.library,
                "conv_relu_pool_images",
                images.dtype,
                gradient.data_ptr(),
                source.data_ptr(),
                weight.data_ptr(),
                strides_of(weight),
                of_images.data_ptr(),
                *ctx.sizes,
            )
        if any(ctx.needs_input_grad[1:3]):
            of_weight, of_bias = torch.empty_like(weight), torch.empty(len(weight))
            call(
                ctx.library,
                "conv_relu_pool_filters",
                images.dtype,
                gradient.data_ptr(),
                source.data_ptr(),
                images.data_ptr(),
                of_weight.data_ptr(),
                strides_of(of_weight),
                of_bias.data_ptr(),
                *ctx.sizes,
            )
        return of_images, of_weight, of_bias, None


def strides_of(weight: Tensor) -> ctypes.Array[ctypes.c_int64]:
    """As the kernels take them."""
    return (ctypes.c_int64 * 4)(*weight.stride())


def _gives_exact_values(library: ctypes.CDLL) -> bool:
    """A trial of outputs and gradients on small whole numbers: no rounding, no order of sums changes them."""
    generator = torch.Generator().manual_seed(0)

    def draw(most: int, *shape: int) -> Tensor:
        return torch.randint(-most, most + 1, shape, generator=generator).double()

    images, gradient = draw(1, 2, 35, 8, 7), draw(2, 2, 36, 4, 3)
    weight, bias = 4 * draw(1, 36, 35, 3, 3) * (draw(9, 36, 35, 3, 3) == 0), draw(3, 36)
    exact = values_and_gradients(conv_relu_pool_twin, (images, weight, bias), gradient)
    for dtype, name in DTYPES.items():
        if hasattr(library, f"conv_relu_pool_{name}"):
            inputs = (images.to(dtype), weight.float(), bias.float())
            compiled = values_and_gradients(partial(_compiled, library=library), inputs, gradient.to(dtype))
            if not all(torch.equal(one.double(), other) for one, other in zip(compiled, exact, strict=True)):
                return False
    return True


def values_and_gradients(
    operation: Callable[..., Tensor], inputs: tuple[Tensor, ...], gradient: Tensor
) -> list[Tensor]:
    """The outputs, and the gradients of all inputs if the outputs' is `gradient`."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        outputs = operation(*leaves)
        return [outputs.detach(), *torch.autograd.grad(outputs, leaves, gradient)]
