"""Layers that compute faster than the model's own: the same function, and the same names in the state_dict.

Shape letters: B images of a batch, C channels in, K channels out, H height, W width, I features in,
O features out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tiebreak.kernels import conv_relu_pool, max_pool_relu


class ConvReluPool(nn.Module):
    """`kernels.conv_relu_pool` as a layer, with the parameters of a convolution; it obeys autocast."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H//2 W//2"]:
        kind = images.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else images.dtype
        assert self.bias is not None  # other convolutions are left alone
        return conv_relu_pool(images.to(dtype), self.weight, self.bias)


class MaxPoolRelu(nn.Module):
    """`kernels.max_pool_relu` as a layer."""

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H//2 W//2"]:
        return max_pool_relu(images)


@dataclass
class Bf16Copy:
    """A parameter in bfloat16, as of one of its versions (PyTorch counts a tensor's changes in place)."""

    tensor: Tensor
    version: int
    kept: bool = False  # by an optimiser; PyTorch's own change parameters without counting


class Bf16Linear(nn.Module):
    """A linear layer under bfloat16 autocast that need not round its weight at every step.

    The optimiser rounds it while it has it at hand. A change of the weight in place is noticed, unless it
    goes past PyTorch's count of changes (through `weight.data`). The weight's gradient is handed on in
    bfloat16, as it was computed; who wants it in float32 can widen it, as PyTorch does unless `grad_dtype`
    says otherwise.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.copy = Bf16Copy(self.weight.detach().bfloat16(), self.weight._version)

    def forward(self, inputs: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        if not self.copy.kept or self.copy.version != self.weight._version:
            # A new tensor, as a backward pass may still need the old one.
            self.copy.tensor, self.copy.version = self.weight.detach().bfloat16(), self.weight._version
        weight = _Rounded.apply(self.weight, self.copy.tensor)  # type: ignore[no-untyped-call]
        return F.linear(inputs, weight, self.bias)


class _Rounded(torch.autograd.Function):
    """The copy in the place of the weight."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, copy: Tensor) -> Tensor:
        return copy.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def keep_bf16_weights(model: nn.Module) -> nn.Module:
    """Let linear layers keep their weights in bfloat16 beside float32; changes the model, not its values."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and not _has_hooks(layer):
                setattr(parent, name, Bf16Linear(layer))
    return model


def bf16_copies(model: nn.Module) -> dict[nn.Parameter, Bf16Copy]:
    """The copies that `keep_bf16_weights` made, by the parameters they are of."""
    layers = [layer for layer in model.modules() if isinstance(layer, Bf16Linear)]
    return {layer.weight: layer.copy for layer in layers if isinstance(layer.weight, nn.Parameter)}


def keep_bf16_gradients(model: nn.Module) -> None:
    """Let the weights of `bf16_copies` keep their gradients in bfloat16, where PyTorch lets them."""
    for weight in bf16_copies(model):
        if hasattr(weight, "grad_dtype"):
            weight.grad_dtype = torch.bfloat16


def conv_relu_pool_as_one(model: nn.Module) -> nn.Module:
    """Compute convolution, ReLU and pooling in a row in an `nn.Sequential` as one; changes the model.

    The values are the same up to rounding.
    """
    for container, index in list(_conv_relu_pools(model)):
        convolution = container[index]
        assert isinstance(convolution, nn.Conv2d)
        container[index] = ConvReluPool(convolution)
        container[index + 1], container[index + 2] = nn.Identity(), nn.Identity()
    return model


def has_conv_relu_pool(model: nn.Module) -> bool:
    """Whether `conv_relu_pool_as_one` would change something."""
    return any(True for _ in _conv_relu_pools(model))


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
                and type(relu) is nn.ReLU
                and type(pool) is nn.MaxPool2d
                and _is_2x2(pool)
                and not pool.return_indices
                and not any(map(_has_hooks, (convolution, relu, pool)))
            ):
                yield container, index


def _is_plain_3x3(layer: nn.Conv2d) -> bool:
    settings = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    return settings == ((3, 3), (1, 1), (1, 1), (1, 1), 1) and (
        layer.padding_mode == "zeros" and layer.bias is not None
    )


def _has_hooks(layer: nn.Module) -> bool:
    """Whether something wants to see this layer compute, or makes its weight first (weight normalisation)."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return any(hooks)


def _is_2x2(pool: nn.MaxPool2d) -> bool:
    settings = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    pairs = [value if isinstance(value, tuple) else (value, value) for value in settings]
    return pairs == [(2, 2), (2, 2), (0, 0), (1, 1)] and not pool.ceil_mode
