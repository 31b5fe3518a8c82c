"""A model followed layer by layer, as a chain that others can compute without its code."""

from functools import partial

import torch
from torch import Tensor, nn

from tiebreak.results.chain import Chain, Layer


class _NotAChainError(Exception):
    """Holds the sentence that says why."""


NOTHING_IN_EVALUATION = (nn.Dropout, nn.Dropout2d, nn.Identity)
KNOWN = (
    nn.Linear,
    nn.Conv2d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.Flatten,
)
Calls = list[tuple[str, nn.Module, object, object]]  # name, layer, first input, output


def describe_layers(model: nn.Module, image_shape: tuple[int, int, int]) -> Chain:
    """Follow two images of (C, H, W) through a model and write down the layers they pass.

    Each layer must receive just what the one before it gave, and the last one's output must be the
    model's: anything else (a skip, a function between layers) is no chain, and is said in `left_out`.
    A model that computes a chain by other means may have a method `chain()` that gives it; the kind
    "local" (untied 3x3 filters with a border of zeros) has weight (H*W, 9*C, O), whose taps vary slower
    than the channels, and bias (H*W, 1, O).

    Raises: whatever the model raises.
    """
    if callable(own := getattr(model, "chain", None)):
        return Chain.model_validate(own())
    calls: Calls = []
    leaves = [(name, layer) for name, layer in model.named_modules() if not any(layer.children())]
    hooked = {name for name, layer in leaves if layer._forward_hooks or layer._forward_pre_hooks}
    handles = [layer.register_forward_hook(partial(_record, calls, name)) for name, layer in leaves]
    was_training = model.training
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    images = torch.zeros(2, *image_shape, device=device)
    try:
        with torch.no_grad():
            output = model.eval()(images)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    try:
        return Chain(layers=tuple(_follow(calls, images, output, hooked)))
    except _NotAChainError as reason:
        return Chain(left_out=str(reason))


def _record(calls: Calls, name: str, layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
    calls.append((name, layer, inputs[0] if inputs else None, output))


def _follow(calls: Calls, images: Tensor, output: object, hooked: set[str]) -> list[Layer]:
    found: list[Layer] = []
    current: object = images
    for name, layer, given, gave in calls:
        if given is not current or not isinstance(given, Tensor):
            raise _NotAChainError(
                "the page computes layers one after another, and something else (a skip, an addition, "
                f"a function) makes the input of {name}"
            )
        if name in hooked or "forward" in vars(layer):
            raise _NotAChainError(f"{name} does more than its kind: it has a hook or a forward of its own")
        if type(layer) not in NOTHING_IN_EVALUATION:
            found.append(_describe(name, layer, given))
        current = gave
    if output is not current:
        raise _NotAChainError("its output is not the output of its last layer")
    return found


def _describe(name: str, layer: nn.Module, given: Tensor) -> Layer:
    """Exact types and settings only: what derives from a layer may compute anything.

    To teach the page a new kind of layer, describe it here, compute it in report/page/forward.py and in
    static/forward.js beside it.
    """
    unknown = _NotAChainError(
        f"it has a layer that the page cannot compute: {name}, a {type(layer).__name__}"
    )
    if type(layer) not in KNOWN:
        raise unknown
    match layer:
        case nn.Linear() if given.dim() == 2:
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
        case nn.MaxPool2d() if _is_plain(layer) and _pair(layer.dilation) == (1, 1):
            kernel, stride = _pair(layer.kernel_size), _pair(layer.stride)
            return Layer(kind="maxpool", name=name, kernel=kernel, stride=stride)
        case nn.AvgPool2d() if _is_plain(layer) and layer.divisor_override is None:
            kernel, stride = _pair(layer.kernel_size), _pair(layer.stride)
            return Layer(kind="avgpool", name=name, kernel=kernel, stride=stride)
        case nn.Flatten() if (layer.start_dim, layer.end_dim) == (1, -1):
            return Layer(kind="flatten", name=name)
    raise unknown


def _is_plain(pooling: nn.MaxPool2d | nn.AvgPool2d) -> bool:
    return not pooling.ceil_mode and _pair(pooling.padding) == (0, 0)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
