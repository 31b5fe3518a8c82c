"""The weights that travel in a page, so that the models answer there: half precision, compressed, as text."""

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from tiebreak.report.page.forward import Weights
from tiebreak.results.chain import Chain, Layer


@dataclass(frozen=True, kw_only=True)
class LiveModel:
    """One contender in the page, or the sentence that says why it is not there."""

    label: str
    layers: list[dict[str, Any]]
    seeds: dict[int, str]  # packed weights by seed
    left_out: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownImages:
    """Test images by which a model in the page is held against what it said when it was trained."""

    indices: list[int]  # among the test images
    images: Float32[np.ndarray, "N C H W"]  # normalised


def fold_batchnorm(layers: tuple[Layer, ...], weights: Weights) -> list[tuple[Layer, Weights]]:
    """Each layer with its arrays "weight" and "bias"; a batch norm is multiplied into the layer before it."""
    folded: list[tuple[Layer, Weights]] = []
    for layer in layers:
        if layer.kind == "batchnorm":
            before, arrays = folded[-1]
            get = {
                name: weights[f"{layer.name}.{name}"]
                for name in ("weight", "bias", "running_mean", "running_var")
            }
            gain = get["weight"] / np.sqrt(get["running_var"] + layer.eps)
            filters = arrays["weight"]
            folded[-1] = (
                before,
                {
                    "weight": filters * gain.reshape(-1, *[1] * (filters.ndim - 1)),
                    "bias": (arrays["bias"] - get["running_mean"]) * gain + get["bias"],
                },
            )
        elif layer.kind in ("conv", "linear", "local"):
            weight = weights[f"{layer.name}.weight"]
            outputs = weight.shape[2] if layer.kind == "local" else weight.shape[0]
            bias = weights.get(f"{layer.name}.bias", np.zeros(outputs, dtype=np.float32))
            folded.append((layer, {"weight": weight, "bias": bias}))
        else:
            folded.append((layer, {}))
    return folded


def pack(numbers: Float[np.ndarray, " n"]) -> str:
    """Half precision, all low bytes before all high bytes (these compress), deflated, base64."""
    planes = numbers.astype("<f2").view(np.uint8).reshape(-1, 2).T
    return compress(np.ascontiguousarray(planes).tobytes())


def compress(content: bytes) -> str:
    """Deflated (zlib) and base64: what the page's `inflate` takes."""
    return base64.b64encode(zlib.compress(content, 9)).decode("ascii")


def first_layer_images(
    weights: Weights, chain: Chain, image_shape: tuple[int, int, int], limit: int = 64
) -> UInt8[np.ndarray, "N C H W"] | None:
    """What the first layer with weights looks for, as images: 0 is grey, each is scaled by itself.

    A convolution's filters in colour, or one by one if its channels are not 3; a linear layer's templates,
    those with the largest norm first. None where there is nothing that has the form of an image.
    """
    first = next((layer for layer in chain.layers if layer.kind in ("conv", "linear", "local")), None)
    if first is None or first.kind == "local":
        return None
    weight = weights.get(f"{first.name}.weight")
    if weight is None or weight.ndim != (4 if first.kind == "conv" else 2) or not weight.size:
        return None
    channels, height, width = image_shape
    if first.kind == "linear":
        if weight.shape[1] != channels * height * width:
            return None
        if len(weight) > limit:
            weight = weight[np.argsort(-np.linalg.norm(weight, axis=1), kind="stable")]
        weight = weight.reshape(-1, channels, height, width)
    weight = weight[:limit]
    if weight.shape[1] not in (1, 3):
        weight = weight.mean(axis=1, keepdims=True)
    largest = np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
    return np.rint(127.5 * (1 + weight / np.where(largest > 0, largest, 1))).astype(np.uint8)
