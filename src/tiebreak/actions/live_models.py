"""The models that answer in a study's page: read from the folder, tried, and packed."""

from typing import Any

import numpy as np
import safetensors

from tiebreak.errors import StudyError
from tiebreak.report.page.forward import Weights, probabilities
from tiebreak.report.page.live import KnownImages, LiveModel, fold_batchnorm, pack
from tiebreak.results.chain import Chain, Layer
from tiebreak.study.plan import Contender
from tiebreak.study.reading import train_again
from tiebreak.study.store import WEIGHTS, StoredStudy, run_place

MAX_PARAMS = 4_000_000
MAX_CHARACTERS = 9_300_000  # of all weights and images: a page stays under 12 MB
# Others are no weights (a counter of batches), or in formats that NumPy does not have.
FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}  # as safetensors names them
LARGEST_HALF = float(np.finfo(np.float16).max)
# How far the page's probabilities may be from the stored ones: its weights travel in half precision, and what
# a run in bf16 rounded at every layer the page does not round.
MAX_DIFFERENCE = {"fp32": 2e-3, "bf16": 3e-2}


class _LeftOutError(Exception):
    """Holds the reason why a model cannot answer in the page."""


def pack_models(
    stored: StoredStudy, chains: dict[str, Chain], examples: KnownImages, room: int
) -> list[LiveModel]:
    """The contenders that a page can compute, with as many seeds as `room` (in characters) allows.

    The first seed that all have always comes along; a further one only for all contenders at once.

    Raises: StudyError if a weights file is missing or damaged.
    """
    seeds = [set(stored.finished(contender.label)) for contender in stored.study.contenders]
    shared = sorted(set.intersection(*filter(None, seeds))) if any(seeds) else []
    models = [_one_seed(stored, contender, chains, examples, shared) for contender in stored.study.contenders]
    live = [model for model in models if model.left_out is None]
    used = sum(len(text) for model in live for text in model.seeds.values())
    for seed in shared[1:]:
        try:
            packed = [_pack_seed(stored, m.label, chains[m.label], examples, seed)[1] for m in live]
        except _LeftOutError:
            continue  # the others answer with this seed, or none does
        used += sum(map(len, packed))
        if used > room:
            break
        for model, text in zip(live, packed, strict=True):
            model.seeds[seed] = text
    return models


def _one_seed(
    stored: StoredStudy,
    contender: Contender,
    chains: dict[str, Chain],
    examples: KnownImages,
    shared: list[int],
) -> LiveModel:
    label = contender.label
    try:
        _check_it_can_answer(stored, contender, chains)
        seed = next(iter(shared or stored.finished(label)))
        layers, text = _pack_seed(stored, label, chains[label], examples, seed)
        return LiveModel(label=label, layers=layers, seeds={seed: text})
    except _LeftOutError as reason:
        return LiveModel(label=label, layers=[], seeds={}, left_out=f"{label} cannot answer here: {reason}.")


def _check_it_can_answer(stored: StoredStudy, contender: Contender, chains: dict[str, Chain]) -> None:
    finished = list(stored.finished(contender.label).values())
    if not finished:
        raise _LeftOutError("no run of it has finished")
    if contender.transforms:
        raise _LeftOutError(f"its images are changed first ({', '.join(contender.transforms)})")
    if contender.recipe.tta != "none":
        raise _LeftOutError("it is asked about mirrored images, too")
    if contender.label not in chains:
        raise _LeftOutError("the study folder does not tell its layers (run the study again to add them)")
    chain = chains[contender.label]
    if chain.left_out:
        raise _LeftOutError(chain.left_out.rstrip("."))
    cost = finished[0].cost
    if cost and cost.params > MAX_PARAMS:
        raise _LeftOutError(
            f"it has {cost.params / 1e6:.1f} million parameters, and the page takes models up to 4 million"
        )
    for before, layer in zip((None, *chain.layers), chain.layers, strict=False):
        if layer.kind == "batchnorm" and (before is None or before.kind not in ("conv", "linear")):
            raise _LeftOutError("it has a batch norm that does not follow a convolution or linear layer")


def _pack_seed(
    stored: StoredStudy, label: str, chain: Chain, examples: KnownImages, seed: int
) -> tuple[list[dict[str, Any]], str]:
    """The layers as the page reads them and the packed weights, once they were tried."""
    try:
        folded = fold_batchnorm(chain.layers, read_weights(stored, label, seed))
        if any(
            np.abs(array).max(initial=0) > LARGEST_HALF for _, arrays in folded for array in arrays.values()
        ):
            raise _LeftOutError("a weight is too large for half precision")
        _check_answers(stored, label, seed, folded, examples)
    except (KeyError, ValueError, IndexError):
        raise _LeftOutError(
            f"its layers in layers.json and its weights of seed {seed} do not fit each other; "
            "running the study again renews layers.json"
        ) from None
    entries: list[dict[str, Any]] = []
    numbers: list[np.ndarray] = [np.zeros(0, dtype=np.float32)]
    offset = 0
    for layer, arrays in folded:
        entry: dict[str, Any] = {"kind": layer.kind}
        if layer.kind in ("conv", "maxpool", "avgpool"):
            entry |= {"kernel": layer.kernel, "stride": layer.stride, "padding": layer.padding}
        for name, array in arrays.items():
            entry[name] = {"offset": offset, "shape": list(array.shape)}
            numbers.append(array.ravel())
            offset += array.size
        entries.append(entry)
    return entries, pack(np.concatenate(numbers))


def _check_answers(
    stored: StoredStudy, label: str, seed: int, folded: list[tuple[Layer, Weights]], examples: KnownImages
) -> None:
    """Let the layers answer with the weights that travel, and hold that against the stored predictions."""
    halves = [
        (layer, {name: array.astype(np.float16).astype(np.float32) for name, array in arrays.items()})
        for layer, arrays in folded
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        answers = np.stack([probabilities(halves, image) for image in examples.images])
    predicted = stored.predictions(label, seed).test_probs[examples.indices]
    placement = stored.runs[label][seed].placement
    allowed = MAX_DIFFERENCE[placement.precision if placement else "fp32"]
    difference = float(np.abs(answers - predicted).max())
    if not difference <= allowed:
        raise _LeftOutError(
            f"computed from its layers alone it would answer otherwise than it did in the study (by up to "
            f"{difference:.3f} in probability, with seed {seed})"
        )


def read_weights(stored: StoredStudy, label: str, seed: int) -> Weights:
    """The weights of one run, by name.

    Raises: StudyError if the file is missing or damaged.
    """
    content = stored.run_file(label, seed, WEIGHTS)
    try:
        tensors = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
        return {
            name: np.frombuffer(tensor["data"], FLOATS[tensor["dtype"]])
            .reshape(tensor["shape"])
            .astype(np.float32)
            for name, tensor in tensors
            if tensor["dtype"] in FLOATS
        }
    except (ValueError, safetensors.SafetensorError) as error:
        place = stored.folder / run_place(label, seed)
        reason = " ".join(str(error).split())
        raise StudyError(f"{place / WEIGHTS} is damaged: {reason}. {train_again(place)}") from None
