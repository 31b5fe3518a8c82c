"""Layers that compute faster than the model's own: the same function, and the same names in the state_dict.

Shape letters: B images of a batch, C channels in, K channels out, H height, W width, I features in,
O features out.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tiebreak.kernels import conv3x3, conv_relu_pool, max_pool_relu
from tiebreak.kernels.plain_convolution import LEAST_CHANNELS


class ConvReluPool(nn.Module):
    """`kernels.conv_relu_pool` as a layer, with the parameters of a convolution; it obeys autocast."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H//2 W//2"]:
        assert self.bias is not None  # other convolutions are left alone
        return conv_relu_pool(_as_autocast_says(images), self.weight, self.bias)


class Conv3x3(nn.Module):
    """`kernels.conv3x3` as a layer, with the parameters of a convolution; it obeys autocast."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H W"]:
        return conv3x3(_as_autocast_says(images), self.weight, self.bias)


class MaxPoolRelu(nn.Module):
    """`kernels.max_pool_relu` as a layer."""

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H//2 W//2"]:
        return max_pool_relu(images)


def _as_autocast_says(images: Tensor) -> Tensor:
    kind = images.device.type
    return images.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else images


class Bf16Linear(nn.Module):
    """A linear layer under bfloat16 autocast whose weight's gradient stays in bfloat16, as it was computed.

    PyTorch widens it to the weight's float32, unless the weight's `grad_dtype` says otherwise
    (`keep_bf16_gradients`).
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, inputs: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        return F.linear(inputs, _Rounded.apply(self.weight), self.bias)  # type: ignore[no-untyped-call]


class _Rounded(torch.autograd.Function):
    """A weight in bfloat16; its gradient as it comes."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return weight.bfloat16()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def round_linear_weights(model: nn.Module) -> nn.Module:
    """Let linear layers round their weights themselves (`Bf16Linear`); changes the model, not its values."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and not _has_hooks(layer):
                setattr(parent, name, Bf16Linear(layer))
    return model


def keep_bf16_gradients(model: nn.Module) -> bool:
    """Let the weights of `Bf16Linear` keep their gradients in bfloat16; False if there is none, or PyTorch
    is too old for it."""
    layers = [layer for layer in model.modules() if isinstance(layer, Bf16Linear)]
    weights = [layer.weight for layer in layers if hasattr(layer.weight, "grad_dtype")]
    for weight in weights:
        weight.grad_dtype = torch.bfloat16
    return bool(weights)


def by_winograd(model: nn.Module) -> nn.Module:
    """Compute plain 3x3 convolutions by Winograd's algorithm; changes the model.

    Where ReLU and pooling follow in an `nn.Sequential`, all three are one layer. The values are the same up
    to rounding.
    """
    for container, index in list(_conv_relu_pools(model)):
        convolution = container[index]
        assert isinstance(convolution, nn.Conv2d)
        container[index] = ConvReluPool(convolution)
        container[index + 1], container[index + 2] = nn.Identity(), nn.Identity()
    for parent, name, convolution in list(_plain_3x3(model)):
        setattr(parent, name, Conv3x3(convolution))
    return model


def can_go_by_winograd(model: nn.Module) -> bool:
    """Whether `by_winograd` would change something."""
    return any(True for _ in (*_conv_relu_pools(model), *_plain_3x3(model)))


def pool_before_relu(model: nn.Module) -> nn.Module:
    """Let max pooling go before a ReLU that stands before it in an `nn.Sequential`; changes the model.

    ReLU never changes which of several values is largest, so values and gradients stay the same bit for bit,
    and ReLU has less to do.
    """
    for container in [layer for layer in model.modules() if isinstance(layer, nn.Sequential)]:
        for index, (relu, pool) in enumerate(pairwise(list(container))):
            if type(relu) is nn.ReLU and type(pool) is nn.MaxPool2d and not pool.return_indices:
                if _has_hooks(relu) or _has_hooks(pool):
                    continue
                common = _is_2x2(pool)
                container[index] = nn.Identity() if common else pool
                container[index + 1] = MaxPoolRelu() if common else relu
    return model


def _conv_relu_pools(model: nn.Module) -> Iterator[tuple[nn.Sequential, int]]:
    """Where a convolution begins such a row: the container and the index in it."""
    for container in [layer for layer in model.modules() if isinstance(layer, nn.Sequential)]:
        layers = list(container)
        for index, (convolution, relu, pool) in enumerate(zip(layers, layers[1:], layers[2:], strict=False)):
            if (
                type(convolution) is nn.Conv2d
                and _is_plain_3x3(convolution)
                and convolution.bias is not None
                and type(relu) is nn.ReLU
                and type(pool) is nn.MaxPool2d
                and _is_2x2(pool)
                and not pool.return_indices
                and not any(map(_has_hooks, (convolution, relu, pool)))
            ):
                yield container, index


def _plain_3x3(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Conv2d]]:
    """Convolutions for which the kernel may pay, with the layer that holds each and its name there."""
    for parent in model.modules():
        for name, layer in parent.named_children():
            if (
                type(layer) is nn.Conv2d
                and _is_plain_3x3(layer)
                and layer.in_channels >= LEAST_CHANNELS
                and not _has_hooks(layer)
            ):
                yield parent, name, layer


def _is_plain_3x3(layer: nn.Conv2d) -> bool:
    settings = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    return settings == ((3, 3), (1, 1), (1, 1), (1, 1), 1) and layer.padding_mode == "zeros"


def _has_hooks(layer: nn.Module) -> bool:
    """Whether something wants to see this layer compute, or makes its weight first (weight normalisation)."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return any(hooks)


def _is_2x2(pool: nn.MaxPool2d) -> bool:
    settings = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    pairs = [value if isinstance(value, tuple) else (value, value) for value in settings]
    return pairs == [(2, 2), (2, 2), (0, 0), (1, 1)] and not pool.ceil_mode
