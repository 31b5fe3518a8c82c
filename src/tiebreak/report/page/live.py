"""The weights that travel in a page, so that the models answer there: half precision, compressed, as text."""

import base64
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from jaxtyping import Float, UInt8
from safetensors.numpy import load_file

from tiebreak.errors import StudyError
from tiebreak.models.layers import Chain, Layer
from tiebreak.study.store import StoredStudy, run_folder

MAX_PARAMS = 4_000_000
MAX_CHARACTERS = 9_300_000  # of all weights and images: a page stays under 12 MB
Weights = dict[str, Float[np.ndarray, "..."]]


@dataclass(frozen=True, kw_only=True)
class LiveModel:
    """One contender in the page, or the sentence that says why it is not there."""

    label: str
    layers: list[dict[str, Any]]
    seeds: dict[int, str]  # packed weights by seed
    left_out: str | None = None


def pack_models(stored: StoredStudy, chains: dict[str, Chain], room: int) -> list[LiveModel]:
    """The contenders that a page can compute, with as many seeds as `room` (in characters) allows.

    The first seed always comes along; a further one only for all contenders at once.

    Raises: StudyError if a weights file is missing or damaged.
    """
    models = [_first_seed(stored, contender.label, chains) for contender in stored.study.contenders]
    live = [model for model in models if model.left_out is None]
    used = sum(len(text) for model in live for text in model.seeds.values())
    shared = [set(stored.finished(model.label)) - set(model.seeds) for model in live]
    for seed in sorted(set.intersection(*shared)) if shared else ():
        packed = [_pack_seed(stored, model.label, chains[model.label], seed)[1] for model in live]
        used += sum(map(len, packed))
        if used > room:
            break
        for model, text in zip(live, packed, strict=True):
            model.seeds[seed] = text
    return models


def _first_seed(stored: StoredStudy, label: str, chains: dict[str, Chain]) -> LiveModel:
    reason, seeds = _reason_to_leave_out(stored, label, chains), list(stored.finished(label))
    if reason is None:
        layers, text = _pack_seed(stored, label, chains[label], seeds[0])
        if layers is not None:
            return LiveModel(label=label, layers=layers, seeds={seeds[0]: text})
        reason = "a weight is too large for half precision"
    return LiveModel(label=label, layers=[], seeds={}, left_out=f"{label} cannot answer here: {reason}.")


def _reason_to_leave_out(stored: StoredStudy, label: str, chains: dict[str, Chain]) -> str | None:
    finished = list(stored.finished(label).values())
    if not finished:
        return "no run of it has finished"
    contender = next(c for c in stored.study.contenders if c.label == label)
    if contender.transforms:
        return f"its images are changed first ({', '.join(contender.transforms)})"
    if label not in chains:
        return "the study folder does not tell its layers (run the study again to add them)"
    if chains[label].left_out:
        return chains[label].left_out
    cost = finished[0].cost
    if cost and cost.params > MAX_PARAMS:
        return f"it has {cost.params / 1e6:.1f} million parameters, and the page takes models up to 4 million"
    layers = chains[label].layers
    for before, layer in zip((None, *layers), layers, strict=False):
        if layer.kind == "batchnorm" and (before is None or before.kind not in ("conv", "linear")):
            return "it has a batch norm that does not follow a convolution or linear layer"
    return None


def _pack_seed(
    stored: StoredStudy, label: str, chain: Chain, seed: int
) -> tuple[list[dict[str, Any]] | None, str]:
    """The layers as the page reads them and the packed weights; None if these do not fit half precision."""
    weights = read_weights(stored, label, seed)
    _check_names(stored, label, chain, weights)
    entries: list[dict[str, Any]] = []
    numbers: list[np.ndarray] = []
    offset = 0
    for layer, arrays in fold_batchnorm(chain.layers, weights):
        entry: dict[str, Any] = {"kind": layer.kind}
        if layer.kind in ("conv", "maxpool", "avgpool"):
            entry |= {"kernel": layer.kernel, "stride": layer.stride, "padding": layer.padding}
        for name, array in arrays.items():
            entry[name] = {"offset": offset, "shape": list(array.shape)}
            numbers.append(array.ravel())
            offset += array.size
        entries.append(entry)
    flat = np.concatenate(numbers) if numbers else np.zeros(0, dtype=np.float32)
    if flat.size and not np.abs(flat).max() <= np.finfo(np.float16).max:
        return None, ""
    return entries, pack(flat)


def _check_names(stored: StoredStudy, label: str, chain: Chain, weights: Weights) -> None:
    for layer in chain.layers:
        if layer.kind in ("conv", "linear", "local", "batchnorm") and f"{layer.name}.weight" not in weights:
            raise StudyError(
                f"{stored.folder}: layers.json and the weights of {label} do not fit each other: "
                f"there is no {layer.name}.weight. Run the study again to renew layers.json."
            )


def read_weights(stored: StoredStudy, label: str, seed: int) -> Weights:
    """The weights of one run, by name.

    Raises: StudyError if the file is missing or damaged.
    """
    contender = next(c for c in stored.study.contenders if c.label == label)
    path = run_folder(stored.folder, contender, seed) / "weights.safetensors"
    return _load(path)


def _load(path: Path) -> Weights:
    try:
        arrays = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise StudyError(
            f"{path} is missing or damaged: {reason}. Remove its folder to run it again."
        ) from None
    # A batch norm's counter of batches is no weight.
    return {name: a.astype(np.float32) for name, a in arrays.items() if np.issubdtype(a.dtype, np.floating)}


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
    weight = weights[f"{first.name}.weight"]
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
