"""Inner loops that PyTorch has no fast form of on a CPU: functions that each have a plain PyTorch twin."""

from tiebreak.kernels.adam import AdamSettings, adam_update, adam_update_twin, load_adam
from tiebreak.kernels.convolution import (
    conv_relu_pool,
    conv_relu_pool_twin,
    has_convolution,
    load_convolution,
)
from tiebreak.kernels.gather import gather_normalised, gather_normalised_twin, load_gather
from tiebreak.kernels.pooling import load_pooling, max_pool_relu, max_pool_relu_twin

__all__ = [
    "AdamSettings",
    "adam_update",
    "adam_update_twin",
    "conv_relu_pool",
    "conv_relu_pool_twin",
    "gather_normalised",
    "gather_normalised_twin",
    "has_adam",
    "has_convolution",
    "kernels_are_compiled",
    "max_pool_relu",
    "max_pool_relu_twin",
]


def has_adam() -> bool:
    """Whether `adam_update` is compiled here."""
    return load_adam() is not None


def kernels_are_compiled() -> bool:
    """Whether all of them compute here, rather than some of their twins."""
    return None not in (load_gather(), load_pooling(), load_convolution(), load_adam())
