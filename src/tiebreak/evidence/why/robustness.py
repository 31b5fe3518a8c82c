"""How contenders break: accuracy on test images that were shifted, turned, blurred, made noisy or covered.

Nothing is trained for this. The stored weights of each run look at distorted copies of the test part; what
they got right is kept in the study folder, so that it is computed once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Comparison
from tiebreak.evidence.compare.pair import compare_scores
from tiebreak.evidence.describe.quality import Spread
from tiebreak.evidence.why.spatial import Scores, accuracy_of, load_correct
from tiebreak.results.results import Results

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


def answer_shift(
    results: Results, a: str, b: str, side: int, answers: Mapping[str, Mapping[int, Bool[np.ndarray, "D M"]]]
) -> Breakdown:
    """Accuracy of both under every distortion.

    Arguments: `side` - of the images, in pixels; `answers` - which test images each run got right, by label
    and seed, a row each of `distortion_texts(side)`.

    Raises: EvidenceError if a run was not measured.
    """
    level = results.rule.level
    plain = load_correct(results, [a, b])
    scores = {label: _by_distortion(results, label, (a, b), side, answers) for label in (a, b)}
    points = []
    for distortion in DISTORTIONS:
        for strength in (0.0, *distortion.for_side(side)):
            number = int(strength) if distortion.is_distance else strength
            here = (
                plain
                if strength == 0
                else {label: by_text[f"{distortion.name}({number})"] for label, by_text in scores.items()}
            )
            lead = here[b] - here[a]
            loss = plain[b] - plain[a] - lead
            points.append(
                DistortedPoint(
                    distortion=distortion.name,
                    unit=distortion.unit,
                    strength=strength,
                    accuracy_a=accuracy_of(here[a]),
                    accuracy_b=accuracy_of(here[b]),
                    lead=compare_scores(lead, bound=1.0, level=level),
                    extra_loss=compare_scores(loss, bound=2.0, level=level) if strength else None,
                )
            )
    return Breakdown(a=a, b=b, points=tuple(points))


def _by_distortion(
    results: Results,
    label: str,
    pair: tuple[str, str],
    side: int,
    answers: Mapping[str, Mapping[int, Bool[np.ndarray, "D M"]]],
) -> dict[str, Scores]:
    """By transform: which test images were right, over the seeds that both have finished."""
    seeds = sorted(set.intersection(*(set(results.of(one).runs) for one in pair)))
    for seed in seeds:
        if seed not in answers.get(label, {}):
            raise EvidenceError(f"{results.source}: {label}, seed {seed} has not seen distorted images.")
    stacked = np.stack([answers[label][seed] for seed in seeds]).astype(np.float64)
    return {text: stacked[:, row] for row, text in enumerate(distortion_texts(side))}
