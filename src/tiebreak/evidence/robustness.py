"""How contenders break: accuracy on test images that were shifted, turned, blurred, made noisy or covered.

Nothing is trained for this. The stored weights of each run look at distorted copies of the test part; what
they got right is kept in the study folder, so that it is computed once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Bool

from tiebreak.data.dataset import ImageDataset
from tiebreak.data.transform import transform_dataset
from tiebreak.errors import EvidenceError, StudyError
from tiebreak.evidence.comparison import Comparison, compare_scores
from tiebreak.evidence.quality import Spread
from tiebreak.evidence.spatial import Scores, accuracy_of, load_correct
from tiebreak.files import atomic_write
from tiebreak.models.catalog import build_model
from tiebreak.rng import global_stream
from tiebreak.study.plan import Contender
from tiebreak.study.store import StoredStudy, run_folder
from tiebreak.training.loop import predict
from tiebreak.training.run import EVAL_BATCH_SIZE

SIDE = 32  # of the images for which the distances below are given; others are scaled


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """A transform of the test part at several strengths."""

    name: str
    strengths: tuple[float, ...]
    unit: str
    is_distance: bool = False  # in pixels, and so to be scaled with the image

    def for_side(self, side: int) -> tuple[float, ...]:
        """The strengths for images of that many pixels; distances become whole pixels, at least 1."""
        if not self.is_distance:
            return self.strengths
        return tuple(sorted({float(max(1, round(value * side / SIDE))) for value in self.strengths}))


DISTORTIONS = (
    Distortion(name="shift", strengths=(1.0, 2.0, 4.0, 8.0), unit="pixels", is_distance=True),
    Distortion(name="rotate", strengths=(5.0, 10.0, 20.0, 40.0), unit="degrees"),
    Distortion(name="noise", strengths=(0.05, 0.1, 0.2), unit="of the way from black to white"),
    Distortion(name="blur", strengths=(0.5, 1.0, 2.0), unit="pixels"),
    Distortion(name="occlude", strengths=(4.0, 8.0, 16.0), unit="pixels", is_distance=True),
)


@dataclass(frozen=True, kw_only=True)
class DistortedPoint:
    """Both contenders at one strength of one distortion; strength 0 is the test part as it is."""

    distortion: str
    unit: str
    strength: float
    accuracy_a: Spread
    accuracy_b: Spread
    lead: Comparison  # B - A
    extra_loss: Comparison | None  # how much more accuracy B loses than A; None at strength 0


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """All points, by distortion and strength."""

    a: str
    b: str
    points: tuple[DistortedPoint, ...]


def distortion_texts(side: int) -> list[str]:
    """The transforms for images of that many pixels: "shift(1)", ..."""
    texts = []
    for distortion in DISTORTIONS:
        for strength in distortion.for_side(side):
            number = int(strength) if distortion.is_distance else strength
            texts.append(f"{distortion.name}({number})")
    return texts


def measure_distortions(
    stored: StoredStudy, contenders: tuple[Contender, ...], data: ImageDataset, device: torch.device
) -> Iterator[tuple[str, int]]:
    """Show the distorted test parts to all finished runs of the contenders; gives label and seed of each.

    Raises: StudyError if a run's weights are missing or do not fit.
    """
    texts = distortion_texts(min(data.image_shape[1:]))
    for contender in contenders:
        for seed in stored.finished(contender.label):
            if _read(_file(stored, contender, seed), texts) is None:
                yield contender.label, seed
                correct = _look(stored, contender, seed, data, device, texts)
                with atomic_write(_file(stored, contender, seed)) as file:
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
        model.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
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


def answer_shift(stored: StoredStudy, a: Contender, b: Contender) -> Breakdown:
    """Accuracy of both under every distortion. Raises: EvidenceError if a run was not measured."""
    level = stored.study.level
    seeds = sorted(set(stored.finished(a.label)) & set(stored.finished(b.label)))
    plain = load_correct(stored, [a.label, b.label])
    side = min(stored.header.data.image_shape[1:])
    texts = distortion_texts(side)
    scores = {c.label: _measured(stored, c, seeds, texts) for c in (a, b)}
    points = []
    for distortion in DISTORTIONS:
        for strength in (0.0, *distortion.for_side(side)):
            number = int(strength) if distortion.is_distance else strength
            here = (
                plain
                if strength == 0
                else {label: by_text[f"{distortion.name}({number})"] for label, by_text in scores.items()}
            )
            lead = here[b.label] - here[a.label]
            loss = plain[b.label] - plain[a.label] - lead
            points.append(
                DistortedPoint(
                    distortion=distortion.name,
                    unit=distortion.unit,
                    strength=strength,
                    accuracy_a=accuracy_of(here[a.label]),
                    accuracy_b=accuracy_of(here[b.label]),
                    lead=compare_scores(lead, bound=1.0, level=level),
                    extra_loss=compare_scores(loss, bound=2.0, level=level) if strength else None,
                )
            )
    return Breakdown(a=a.label, b=b.label, points=tuple(points))


def _measured(
    stored: StoredStudy, contender: Contender, seeds: list[int], texts: list[str]
) -> dict[str, Scores]:
    """By transform: which test images were right, [seed, example]."""
    arrays = []
    for seed in seeds:
        correct = _read(_file(stored, contender, seed), texts)
        if correct is None:
            raise EvidenceError(
                f"{stored.folder}: {contender.label}, seed {seed} has not seen distorted images."
            )
        arrays.append(correct)
    return {
        text: np.stack([array[row] for array in arrays]).astype(np.float64) for row, text in enumerate(texts)
    }


def _file(stored: StoredStudy, contender: Contender, seed: int) -> Path:
    return stored.folder / "distorted" / contender.folder / f"seed-{seed}.npz"


def _read(path: Path, texts: list[str]) -> Bool[np.ndarray, "D M"] | None:
    """The stored answers, or None if they are missing or of other distortions."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["correct"] if arrays["transforms"].tolist() == texts else None
    except (OSError, ValueError, KeyError, EOFError):
        return None  # a damaged file is made again
