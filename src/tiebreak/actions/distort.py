"""Show distorted test images to the models of a study; what they got right is kept in its folder."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Bool

from tiebreak.data.dataset import ImageDataset
from tiebreak.data.transform import transform_dataset
from tiebreak.errors import ModelError, StudyError
from tiebreak.evidence.why.robustness import distortion_texts
from tiebreak.files import atomic_write
from tiebreak.models.catalog import build_model
from tiebreak.models.weights import load_weights
from tiebreak.rng import global_stream
from tiebreak.study.plan import Contender
from tiebreak.study.store import StoredStudy, run_folder
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
            if read_answers(answers_file(stored, contender, seed), texts) is None:
                yield contender.label, seed
                correct = _look(stored, contender, seed, data, device, texts)
                with atomic_write(answers_file(stored, contender, seed)) as file:
                    np.savez_compressed(file, transforms=np.array(texts), correct=correct)


def _look(
    stored: StoredStudy,
    contender: Contender,
    seed: int,
    data: ImageDataset,
    device: torch.device,
    texts: list[str],
) -> Bool[np.ndarray, "D M"]:
    """Which test images a run gets right, by distortion."""
    path = run_folder(stored.folder, contender, seed) / "weights.safetensors"
    with global_stream(seed, "init"):
        model = build_model(contender.model, data.image_shape, data.num_classes)
    try:
        load_weights(model, safetensors.torch.load_file(path))
    except (ModelError, OSError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(
            f"{path} does not hold {contender.model}'s weights ({reason}); remove its folder."
        ) from None
    model.to(device)
    own = transform_dataset(data, contender.transforms, seed)
    correct = []
    for text in texts:
        distorted = transform_dataset(own, (f"test:{text}",), seed).test
        guesses = predict(model, distorted.batches(EVAL_BATCH_SIZE), device).argmax(dim=1)
        correct.append((guesses == distorted.targets).numpy())
    return np.stack(correct)


def measured_answers(
    stored: StoredStudy, contenders: Iterable[Contender]
) -> dict[str, dict[int, Bool[np.ndarray, "D M"]]]:
    """What was kept of all finished runs that have seen the distorted images, by label and seed."""
    texts = distortion_texts(min(stored.header.data.image_shape[1:]))
    return {
        contender.label: {
            seed: answers
            for seed in stored.finished(contender.label)
            if (answers := read_answers(answers_file(stored, contender, seed), texts)) is not None
        }
        for contender in contenders
    }


def answers_file(stored: StoredStudy, contender: Contender, seed: int) -> Path:
    return stored.folder / "distorted" / contender.folder / f"seed-{seed}.npz"


def read_answers(path: Path, texts: list[str]) -> Bool[np.ndarray, "D M"] | None:
    """The stored answers, or None if they are missing or of other distortions."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["correct"] if arrays["transforms"].tolist() == texts else None
    except (OSError, ValueError, KeyError, EOFError):
        return None  # a damaged file is made again
