"""What static/forward.js computes, in Python and in the same arithmetic: single precision, layer by layer.

A model goes into the page only if this gives what the model itself gave.
Shape letters: C channels, H height, W width, O output channels, I inputs, K classes.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32
from numpy.lib.stride_tricks import sliding_window_view

from tiebreak.results.chain import Layer

Array = Float32[np.ndarray, "..."]
Weights = dict[str, Float[np.ndarray, "..."]]  # "weight" and "bias", of layers that have them
LARGEST = 2**27  # numbers that one layer may look at


def probabilities(
    layers: list[tuple[Layer, Weights]], image: Float32[np.ndarray, "C H W"]
) -> Float32[np.ndarray, " K"]:
    """The class probabilities of one normalised image.

    Raises: ValueError or IndexError if layers and weights do not fit each other, or are too large.
    """
    x: Array = image
    for layer, weights in layers:
        x = LAYERS[layer.kind](x, layer, weights)
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def _linear(x: Array, layer: Layer, weights: Weights) -> Array:
    return weights["weight"] @ x.ravel() + weights["bias"]


def _conv(x: Array, layer: Layer, weights: Weights) -> Array:
    windows = _windows(x, layer)  # C x H x W x kernel
    found = np.tensordot(weights["weight"], windows, axes=((1, 2, 3), (0, 3, 4)))
    return found + weights["bias"][:, None, None]


def _local(x: Array, layer: Layer, weights: Weights) -> Array:
    """3x3 filters of its own at each position p: weight (p, 9C, O), taps slower than channels."""
    windows = _windows(x, layer.model_copy(update={"kernel": (3, 3), "padding": (1, 1)}))
    patches = windows.transpose(1, 2, 3, 4, 0).reshape(-1, 1, 9 * len(x))
    found = patches @ weights["weight"] + weights["bias"]  # p x 1 x O
    return found[:, 0].T.reshape(-1, *x.shape[1:])


def _max_pool(x: Array, layer: Layer, weights: Weights) -> Array:
    windows = _windows(x, layer)
    rows, columns = layer.kernel
    # A tap of all windows at a time: NumPy's maximum over two short axes takes twenty times as long.
    return np.maximum.reduce([windows[..., i, j] for i in range(rows) for j in range(columns)])


def _windows(x: Array, layer: Layer) -> Float32[np.ndarray, "C H W rows columns"]:
    (rows, columns), (down, right) = layer.padding, layer.stride
    channels, height, width = x.shape
    if channels * (height + 2 * rows) * (width + 2 * columns) * np.prod(layer.kernel) > LARGEST:
        raise ValueError("a layer is too large")
    padded = np.pad(x, ((0, 0), (rows, rows), (columns, columns)))
    windows: Array = sliding_window_view(padded, layer.kernel, axis=(1, 2))
    return windows[:, ::down, ::right]


LAYERS: dict[str, Callable[[Array, Layer, Weights], Array]] = {
    "linear": _linear,
    "conv": _conv,
    "local": _local,
    "relu": lambda x, layer, weights: np.maximum(x, 0),
    "maxpool": _max_pool,
    "avgpool": lambda x, layer, weights: _windows(x, layer).mean(axis=(3, 4)),
    "flatten": lambda x, layer, weights: x.ravel(),
}
