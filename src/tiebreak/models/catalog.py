"""From a name to a model: `cnn(width=64)`, `package.module:factory` or `path/to/file.py:factory`."""

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from tiebreak.calls import Call, parse_call
from tiebreak.errors import ModelError, did_you_mean
from tiebreak.models.airnet import AirNet
from tiebreak.models.cnn import SimpleCNN
from tiebreak.models.deep_mlp import DeepMLP
from tiebreak.models.linear import LinearClassifier
from tiebreak.models.local import LocalNet
from tiebreak.models.matched import mlp
from tiebreak.models.patches import Mixer, ViT
from tiebreak.models.resnet import ResNet
from tiebreak.models.scattered import scattered_cnn
from tiebreak.models.users_code import import_users_module, in_folder_of, users_code

ModelFactory = Callable[..., nn.Module]

BUILTIN: dict[str, ModelFactory] = {
    "mlp": mlp,
    "cnn": SimpleCNN,
    "deep-mlp": DeepMLP,
    "resnet": ResNet,
    "airnet": AirNet,
    "mixer": Mixer,
    "vit": ViT,
    "linear": LinearClassifier,
    "local": LocalNet,
    "cnn-shuffled-taps": scattered_cnn,
}
SHAPE_ARGUMENTS = ("image_shape", "num_classes")  # given by the data set


def build_model(text: str, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """The model that `text` names, for images of (C, H, W) and that many classes.

    A user's own factory (`package.module:factory` or `path/to/file.py:factory`) is imported, that
    is, run. It receives `image_shape` and `num_classes` if it has parameters of these names.

    Raises: ModelError if the name is unknown, the arguments do not fit, or the output is not (B, K).
    """
    call = parse_call(text, ModelError)
    own = call.name not in BUILTIN
    with in_folder_of(call.name) if own else nullcontext():
        factory = find_factory(call.name)
        kwargs = call.kwargs | _shape_arguments(factory, image_shape, num_classes)
        _check_arguments(factory, call, kwargs)
        with users_code(f"{text} could not be built"):
            model = factory(**kwargs)
        if not isinstance(model, nn.Module):
            raise ModelError(f"{text}: expected a torch.nn.Module, got {type(model).__name__}.")
        if own:
            _check_evaluation(text, model, image_shape, num_classes)
    return model


def is_builtin(text: str) -> bool:
    """Whether a model comes with tiebreak; any other is its user's code, which runs when it is built."""
    return parse_call(text, ModelError).name in BUILTIN


def find_factory(name: str) -> ModelFactory:
    """The built-in model of that name, or the function or class that `module:factory` points to.

    Raises: ModelError if there is none.
    """
    if name in BUILTIN:
        return BUILTIN[name]
    module_name, colon, attribute = name.rpartition(":")
    if not colon:
        hint = did_you_mean(name, BUILTIN)
        raise ModelError(
            f'Unknown model "{name}". {hint} Your own: path/to/file.py:factory or package.module:factory.'
        )
    with in_folder_of(name):
        module = import_users_module(module_name)
    factory = getattr(module, attribute, None)
    if not callable(factory):
        functions = [
            key for key, value in vars(module).items() if callable(value) and not key.startswith("_")
        ]
        raise ModelError(
            f'{module_name} has no function or class "{attribute}". {did_you_mean(attribute, functions)}'
        )
    return factory


def describe_factory(text: str) -> str:
    """The arguments that a model takes, with their defaults: "hidden_dim=512, dropout=0.0"."""
    parameters = inspect.signature(find_factory(parse_call(text, ModelError).name)).parameters.values()
    return ", ".join(
        parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default!r}"
        for parameter in parameters
        if parameter.name not in SHAPE_ARGUMENTS and parameter.kind is not parameter.VAR_KEYWORD
    )


def _shape_arguments(
    factory: ModelFactory, image_shape: tuple[int, int, int], num_classes: int
) -> dict[str, Any]:
    if inspect.isclass(factory) and factory.__init__ is nn.Module.__init__:
        return {}  # its signature says that it takes anything, and it takes nothing
    offered = dict(zip(SHAPE_ARGUMENTS, (image_shape, num_classes), strict=True))
    parameters = inspect.signature(factory).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return {key: value for key, value in offered.items() if takes_any or key in parameters}


def _check_arguments(factory: ModelFactory, call: Call, kwargs: dict[str, Any]) -> None:
    signature = inspect.signature(factory)
    accepted = [name for name in signature.parameters if name not in SHAPE_ARGUMENTS]
    for key in call.kwargs:
        if key in SHAPE_ARGUMENTS:
            raise ModelError(f"{call}: {key} follows from the data set and cannot be given.")
    if call.args:
        raise ModelError(
            f"{call}: name each argument, e.g. {call.name}({(accepted or ['key'])[0]}={call.args[0]!r})."
        )
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        hint = f"It takes: {', '.join(accepted)}." if accepted else "It takes no arguments."
        raise ModelError(f"{call}: {error}. {hint}") from None


def _check_evaluation(
    text: str, model: nn.Module, image_shape: tuple[int, int, int], num_classes: int
) -> None:
    was_training = model.training
    model.eval()
    size = f"(C, H, W) = {image_shape} (for image folders --resize changes that)"
    with torch.no_grad(), users_code(f"{text} does not take images of shape {size}"):
        output = model(torch.zeros(2, *image_shape))
    model.train(was_training)
    check_logits(text, output, 2, num_classes)


def check_logits(text: str, output: object, images: int, num_classes: int) -> None:
    """Whether a model's output is one row of real logits an image.

    Raises: ModelError.
    """
    if not isinstance(output, Tensor):
        came = f"{type(output).__name__} ({_parts(output)})" if _parts(output) else type(output).__name__
        raise ModelError(
            f"{text}: expected logits of shape (batch, {num_classes}), got {came}; return the logits alone."
        )
    if tuple(output.shape) != (images, num_classes):
        raise ModelError(
            f"{text}: expected logits of shape (batch, {num_classes}), got {tuple(output.shape)} "
            f"for a batch of {images}."
            + (" squeeze() drops the batch of one: use flatten(1)." if images == 1 else "")
        )
    if not output.is_floating_point():
        raise ModelError(f"{text}: expected logits that are real numbers, got {output.dtype}.")
    if output.isnan().any():
        raise ModelError(f"{text}: its output holds NaN before anything is trained.")


def _parts(output: object) -> str:
    """The names of what an output is made of, as far as they have any."""
    names = output if isinstance(output, dict) else getattr(output, "_fields", ())
    return ", ".join(map(str, names))
