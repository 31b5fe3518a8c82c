"""Stored weights put into a model, or the name of the one that does not fit."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tiebreak.errors import ModelError


def load_weights(model: nn.Module, stored: Mapping[str, Any]) -> None:
    """Put a state dict into a model that has the same names, shapes and number formats.

    Raises: ModelError that names the first entry that does not fit.
    """
    own = model.state_dict()
    for name in [*own, *stored]:
        here, there = _describe(own, name), _describe(stored, name)
        if here != there:
            raise ModelError(f"{name} is {here} in the model, {there} in what was stored.")
    model.load_state_dict(stored)


def _describe(state: Mapping[str, Any], name: str) -> str:
    if name not in state:
        return "missing"
    value = state[name]
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
