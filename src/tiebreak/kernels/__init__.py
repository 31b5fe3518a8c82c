"""Inner loops that PyTorch has no fast form of on a CPU: functions that each have a plain PyTorch twin."""

from tiebreak.kernels.adam import AdamSettings, adam_update, adam_update_twin, load_adam
from tiebreak.kernels.convolution import (
    conv_relu_pool,
    conv_relu_pool_twin,
    has_convolution,
)
from tiebreak.kernels.library import DTYPES, keeps_from_bf16, kernel_variant, usable_variants
from tiebreak.kernels.plain_convolution import conv3x3, conv3x3_twin
from tiebreak.kernels.pooling import load_pooling, max_pool_relu, max_pool_relu_twin

__all__ = [
    "AdamSettings",
    "active_kernels",
    "adam_update",
    "adam_update_twin",
    "conv3x3",
    "conv3x3_twin",
    "conv_relu_pool",
    "conv_relu_pool_twin",
    "has_adam",
    "has_convolution",
    "has_pooling",
    "keeps_from_bf16",
    "kernel_variant",
    "max_pool_relu",
    "max_pool_relu_twin",
    "usable_variants",
]


def has_adam() -> bool:
    """Whether `adam_update` is compiled here."""
    return load_adam() is not None


def has_pooling() -> bool:
    """Whether `max_pool_relu` is compiled here."""
    return load_pooling() is not None


def active_kernels() -> tuple[str, ...]:
    """The names of what is compiled here, and right; the rest is computed by PyTorch."""
    names = [f"convolution in {name}" for dtype, name in DTYPES.items() if has_convolution(dtype)]
    return (*names, *(["pooling"] if has_pooling() else []), *(["adam"] if has_adam() else []))
