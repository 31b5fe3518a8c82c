"""A model as plain data: the chain of its layers, so that others can compute it without its code."""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

Pair = tuple[int, int]
Kind = Literal["linear", "conv", "local", "batchnorm", "relu", "maxpool", "avgpool", "flatten"]


class Layer(BaseModel):
    """One layer. Its weights are `name`.weight and so on among the model's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    name: str
    kernel: Pair = (1, 1)  # height, width; of conv, local and the poolings
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)  # zeros at each side
    eps: float = 0.0  # of batchnorm


class Chain(BaseModel):
    """The layers in the order in which they are computed; or, in words, why there is no such chain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: tuple[Layer, ...] = ()
    left_out: str | None = None


class _NotAChainError(Exception):
    """Holds the sentence that says why."""


def describe_layers(model: nn.Module, image_shape: tuple[int, int, int]) -> Chain:
    """Follow one image of (C, H, W) through a model and write down the layers it passes.

    Each layer must receive just what the one before it gave, and the last one's output must be the
    model's: anything else (a skip, a function between layers) is no chain, and is said in `left_out`.
    A model that computes a chain by other means may have a method `chain()` that gives it; the kind
    "local" (untied 3x3 filters with a border of zeros) has weight (H*W, 9*C, O), whose taps vary slower
    than the channels, and bias (H*W, 1, O).
    """
    if callable(own := getattr(model, "chain", None)):
        return Chain.model_validate(own())
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []
    handles = [
        layer.register_forward_hook(_recorder(name, calls))
        for name, layer in model.named_modules()
        if not any(layer.children())
    ]
    was_training = model.training
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    image = torch.zeros(1, *image_shape, device=device)
    try:
        with torch.no_grad():
            output = model.eval()(image)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    try:
        return Chain(layers=tuple(_follow(calls, image, output)))
    except _NotAChainError as reason:
        return Chain(left_out=str(reason))


def _recorder(
    name: str, calls: list[tuple[str, nn.Module, Tensor, Tensor]]
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append((name, layer, inputs[0], output))

    return record


def _follow(calls: list[tuple[str, nn.Module, Tensor, Tensor]], image: Tensor, output: Tensor) -> list[Layer]:
    current, found = image, []
    for name, layer, given, gave in calls:
        if given is not current:
            raise _NotAChainError(f"something other than a layer computes the input of {name}")
        if not isinstance(layer, nn.Dropout | nn.Identity):
            found.append(_describe(name, layer))
        current = gave
    if output is not current:
        raise _NotAChainError("its output is not the output of its last layer")
    return found


def _describe(name: str, layer: nn.Module) -> Layer:
    """To teach the page a new kind of layer, describe it here and compute it in the page's forward.js."""
    match layer:
        case nn.Linear():
            return Layer(kind="linear", name=name)
        case nn.Conv2d() if layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros":
            if isinstance(layer.padding, str):
                raise _NotAChainError(f"{name} gives its padding as a word")
            kernel, stride, padding = map(_pair, (layer.kernel_size, layer.stride, layer.padding))
            return Layer(kind="conv", name=name, kernel=kernel, stride=stride, padding=padding)
        case nn.BatchNorm2d() | nn.BatchNorm1d() if layer.track_running_stats and layer.affine:
            return Layer(kind="batchnorm", name=name, eps=layer.eps)
        case nn.ReLU():
            return Layer(kind="relu", name=name)
        case nn.MaxPool2d() | nn.AvgPool2d() if not layer.ceil_mode and _pair(layer.padding) == (0, 0):
            kind: Kind = "maxpool" if isinstance(layer, nn.MaxPool2d) else "avgpool"
            return Layer(kind=kind, name=name, kernel=_pair(layer.kernel_size), stride=_pair(layer.stride))
        case nn.Flatten():
            return Layer(kind="flatten", name=name)
    raise _NotAChainError(f"it has a layer that the page cannot compute: {name}, a {type(layer).__name__}")


def _pair(value: int | tuple[int, ...]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
