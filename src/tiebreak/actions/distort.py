"""Show distorted test images to the models of a study; what they got right is kept in its folder."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Bool
from torch import nn

from tiebreak.data.dataset import ImageDataset
from tiebreak.data.transform import transform_dataset
from tiebreak.errors import ModelError, StudyError
from tiebreak.evidence.why.robustness import distortion_texts
from tiebreak.files import atomic_write, read_plain_file
from tiebreak.models.catalog import build_model
from tiebreak.models.weights import load_weights
from tiebreak.rng import global_stream
from tiebreak.sealed import digest
from tiebreak.study.plan import Contender
from tiebreak.study.store import WEIGHTS, StoredStudy, run_place
from tiebreak.training.loop import predict
from tiebreak.training.run import EVAL_BATCH_SIZE


def measure_distortions(
    stored: StoredStudy, contenders: tuple[Contender, ...], data: ImageDataset, device: torch.device
) -> Iterator[tuple[str, int]]:
    """Show the distorted test parts to all finished runs of the contenders; gives label and seed of each.

    Raises: StudyError if a run's weights are missing or do not fit.
    """
    texts = distortion_texts(min(data.image_shape[1:]))
    for contender in contenders:
        for seed in stored.finished(contender.label):
            of = digest(stored.run_file(contender.label, seed, WEIGHTS))
            place = answers_file(contender, seed)
            if read_answers(stored.folder, place, texts, of) is None:
                yield contender.label, seed
                model = load_trained(stored, contender, seed, data, device)
                correct = _look(model, contender, seed, data, device, texts)
                with atomic_write(stored.folder / place) as file:
                    np.savez_compressed(
                        file, transforms=np.array(texts), correct=correct, weights=np.array(of)
                    )


def load_trained(
    stored: StoredStudy, contender: Contender, seed: int, data: ImageDataset, device: torch.device
) -> nn.Module:
    """The model of a finished run.

    Raises: StudyError if its weights are missing, not what was stored, or do not fit; ModelError if the model
    cannot be built.
    """
    weights = stored.run_file(contender.label, seed, WEIGHTS)
    with global_stream(seed, "init"):
        model = build_model(contender.model, data.image_shape, data.num_classes)
    try:
        load_weights(model, safetensors.torch.load(weights))
    except (ModelError, ValueError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(
            f"The weights of {contender.label}, seed {seed} are not {contender.model}'s ({reason}). Remove "
            f"{run_place(contender.label, seed)} from the study's folder and give the same command again."
        ) from None
    return model.to(device)


def _look(
    model: nn.Module,
    contender: Contender,
    seed: int,
    data: ImageDataset,
    device: torch.device,
    texts: list[str],
) -> Bool[np.ndarray, "D M"]:
    """Which test images a run gets right, by distortion."""
    own, mirror = transform_dataset(data, contender.transforms, seed), contender.recipe.tta == "mirror"
    correct = []
    for text in texts:
        distorted = transform_dataset(own, (f"test:{text}",), seed).test
        probs = predict(model, distorted.batches(EVAL_BATCH_SIZE), device, mirror=mirror)
        guesses = probs.argmax(dim=1)
        correct.append((guesses == distorted.targets).numpy())
    return np.stack(correct)


def measured_answers(
    stored: StoredStudy, contenders: Iterable[Contender]
) -> dict[str, dict[int, Bool[np.ndarray, "D M"]]]:
    """What was kept of all finished runs that have seen the distorted images, by label and seed.

    Raises: StudyError if a run's weights are missing or not what was stored.
    """
    texts = distortion_texts(min(stored.header.data.image_shape[1:]))
    found: dict[str, dict[int, Bool[np.ndarray, "D M"]]] = {}
    for contender in contenders:
        found[contender.label] = {}
        for seed in stored.finished(contender.label):
            of = digest(stored.run_file(contender.label, seed, WEIGHTS))
            answers = read_answers(stored.folder, answers_file(contender, seed), texts, of)
            if answers is not None:
                found[contender.label][seed] = answers
    return found


def answers_file(contender: Contender, seed: int) -> PurePath:
    """Where the answers of a run lie in its study's folder."""
    return PurePath("distorted", contender.folder, f"seed-{seed}.npz")


def read_answers(
    folder: Path, place: PurePath, texts: list[str], weights: str
) -> Bool[np.ndarray, "D M"] | None:
    """The stored answers of a model with weights of that digest; None if there are none to these distortions.

    Raises: StudyError if the file is a link or no plain file.
    """
    content = read_plain_file(folder, place)
    if content is None:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            same = arrays["transforms"].tolist() == texts and arrays["weights"].item() == weights
            return arrays["correct"] if same else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # a damaged file is made again
