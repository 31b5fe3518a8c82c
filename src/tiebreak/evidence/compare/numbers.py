"""What a paper's numbers could be worth: accuracies and a number of test images, and no answer to any image.

Which images each contender got right is not told, and it decides: if the better one errs only where the other
errs too, a small lead is sure; if no image is wrong for both, it is not. So all that can be said is a bound
over every overlap of errors that the accuracies allow.
"""

import math
import re
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import bdtr, betainc, ndtri

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.interval import check_level, t_quantile
from tiebreak.evidence.compare.power import detectable_factor

POWER = 0.8  # the number of images asked for shows the lead in four of five studies
EXAMPLE = '"resnet 93.1, vit 92.8, n=10000" or "resnet 93.1 +- 0.2, vit 92.8 +- 0.3, n=10000, seeds=5"'
NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+)"
ENTRY = re.compile(
    rf"(?P<name>.+?)[\s:=]+(?P<value>{NUMBER})\s*%?(?:\s*(?:\+-|\+/-|±)\s*(?P<sd>{NUMBER})\s*%?)?"
)
COUNT = re.compile(r"(?P<key>n|images|seeds|runs|k)\s*=\s*(?P<value>[\d_]+)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Stated:
    """One contender's accuracy as a paper prints it, as fractions."""

    name: str
    accuracy: float
    half_unit: float  # of the last digit: what rounding leaves open
    sd: float | None  # over seeds


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A paper's sentence."""

    stated: tuple[Stated, ...]
    images: int
    seeds: int  # behind each accuracy


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What the numbers would show if the errors overlapped in this way."""

    p_value: float
    low: float  # of the interval, a fraction
    high: float
    false_claim: float  # probability that the leader is not better


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Two contenders' stated numbers, over all overlaps of their errors."""

    a: str  # has the higher accuracy
    b: str
    difference: float
    images: int
    seeds: int
    level: float
    best: Overlap  # the errors of a are among those of b
    independent: Overlap
    worst: Overlap  # as few images as can be are wrong for both
    images_needed: int | None  # to show this difference whatever the overlap; None: it is 0

    @property
    def finding(self) -> str:
        """What the numbers alone entitle one to say."""
        alpha = 1 - self.level
        if self.worst.p_value <= alpha:
            return "shown whatever the overlap"
        return "not shown whatever the overlap" if self.best.p_value > alpha else "depends on the overlap"


def read_numbers(text: str) -> Numbers:
    """Read a sentence such as "resnet 93.1, vit 92.8, n=10000".

    Accuracies above 1 are percent. Raises: EvidenceError if it cannot be read.
    """
    counts: dict[str, int] = {}
    entries: list[tuple[str, str, str | None]] = []
    for part in filter(
        None, (part.strip() for part in re.split(r"[,;]", re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)))
    ):
        count, entry = COUNT.fullmatch(part), ENTRY.fullmatch(part)
        if count is not None:
            counts["n" if count["key"].lower() in ("n", "images") else "seeds"] = int(count["value"])
        elif entry is not None:
            entries.append((entry["name"].strip(), entry["value"], entry["sd"]))
        else:
            raise EvidenceError(f'--numbers: "{part}" cannot be read; write {EXAMPLE}.')
    if len(entries) < 2 or "n" not in counts:
        raise EvidenceError(f"--numbers needs two accuracies and the number of test images; write {EXAMPLE}.")
    percent = any(float(value) > 1 for _, value, _ in entries)
    scale = 100.0 if percent else 1.0
    stated = tuple(
        Stated(
            name=name,
            accuracy=float(value) / scale,
            half_unit=0.5 * 10.0 ** -len(value.partition(".")[2]) / scale,
            sd=None if sd is None else float(sd) / scale,
        )
        for name, value, sd in entries
    )
    wrong = next((one for one in stated if not 0 <= one.accuracy <= 1), None)
    if wrong is not None:
        raise EvidenceError(
            f"--numbers: an accuracy lies between 0 and 100%, got {100 * wrong.accuracy:g} for {wrong.name}."
        )
    if len({one.name for one in stated}) < len(stated):
        raise EvidenceError("--numbers names a contender twice.")
    images, seeds = counts["n"], counts.get("seeds", 1)
    if images < 2 or seeds < 1:
        raise EvidenceError(
            f"--numbers needs at least 2 test images and 1 seed, got n={images} and seeds={seeds}."
        )
    if seeds > 1 and any(one.sd is None for one in stated):
        raise EvidenceError(
            f"--numbers: with {seeds} seeds each accuracy needs its standard deviation; write {EXAMPLE}."
        )
    return Numbers(stated=stated, images=images, seeds=seeds)


def bound_numbers(numbers: Numbers, level: float = 0.95) -> tuple[Bound, ...]:
    """Every pair, the higher accuracy first. Raises: EvidenceError unless the level is a share."""
    check_level(level)
    ordered = sorted(numbers.stated, key=lambda one: -one.accuracy)
    return tuple(_bound(a, b, numbers, level) for a, b in combinations(ordered, 2))


def _bound(a: Stated, b: Stated, numbers: Numbers, level: float) -> Bound:
    n = numbers.images
    rounding = a.half_unit + b.half_unit if a.half_unit * n > 0.5 else 0.0
    p_a, p_b = a.accuracy, b.accuracy
    independent = (1 - p_a) * p_b  # share of images that only b gets right
    most = min(1 - p_a, p_b)
    lead = p_a - p_b
    overlap = _of_seeds if numbers.seeds > 1 and a.sd is not None and b.sd is not None else _of_single_runs
    sides = (a.sd or 0.0, b.sd or 0.0, numbers.seeds)
    room = lead**2
    worst_square = 2 * most + lead - room  # variance of one image's difference
    factor = detectable_factor(level, POWER) ** 2
    return Bound(
        a=a.name,
        b=b.name,
        difference=lead,
        images=n,
        seeds=numbers.seeds,
        level=level,
        best=overlap(lead + rounding, 0.0, n, level, sides, best=True),
        independent=overlap(lead, independent, n, level, sides),
        worst=overlap(max(lead - rounding, 0.0), most, n, level, sides),
        images_needed=math.ceil(factor * worst_square / room) if lead > 0 else None,
    )


Sides = tuple[float, float, int]  # standard deviations of a and b over seeds, and how many seeds


def _of_single_runs(
    lead: float, only_b: float, n: int, level: float, _: Sides, *, best: bool = False
) -> Overlap:
    """The exact McNemar test, Agresti and Min's interval, and the posterior of who is better."""
    losses = round(only_b * n)
    wins = losses + round(lead * n)
    total = wins + losses
    p = min(1.0, 2 * float(bdtr(min(wins, losses), total, 0.5))) if total else 1.0
    centre = (wins - losses) / (n + 2)
    squares = total + 1 - (wins - losses) ** 2 / (n + 2)
    reach = -float(ndtri((1 - level) / 2)) * math.sqrt(squares) / (n + 2)
    # Of images that only one gets right, the share of a is Beta(wins + 1, losses + 1) under a flat prior.
    false_claim = float(betainc(wins + 1, losses + 1, 0.5))
    return Overlap(p_value=p, low=centre - reach, high=centre + reach, false_claim=false_claim)


def _of_seeds(
    lead: float, only_b: float, n: int, level: float, sides: Sides, *, best: bool = False
) -> Overlap:
    """The interval over seeds and images of two means; the seeds of a and b are taken as unrelated.

    At best the images add nothing, as if the mean answers to every image differed by the lead alone.
    """
    sd_a, sd_b, seeds = sides
    of_seeds = (sd_a**2 + sd_b**2) / seeds
    of_images = 0.0 if best else (2 * only_b + lead - lead**2) / n
    alphas = np.geomspace(1e-12, 1.0, 4_000)
    reach = np.hypot(
        np.asarray(t_quantile(alphas / 2, seeds - 1)) * math.sqrt(of_seeds),
        -ndtri(alphas / 2) * math.sqrt(of_images),
    )
    p = float(alphas[np.searchsorted(-reach, -lead)]) if lead < reach[0] else float(alphas[0])
    half = float(np.interp(1 - level, alphas, reach))
    return Overlap(p_value=p, low=lead - half, high=lead + half, false_claim=p / 2)


def numbers_text(bound: Bound) -> str:
    """The answer in a few plain lines."""
    a, b, n = bound.a, bound.b, bound.images
    runs = "single runs" if bound.seeds == 1 else f"{bound.seeds} seeds each"
    points = f"{100 * bound.difference:.3g} point{'' if f'{100 * bound.difference:.3g}' == '1' else 's'}"
    lines = [
        f"{a} leads {b} by {points} on {n:,} test images ({runs}): {bound.finding} of their errors.",
        _line("if the errors of " + a + " are all among those of " + b, bound.best, bound.level),
        _line("if their errors are independent", bound.independent, bound.level),
        _line("if as few images as can be are wrong for both", bound.worst, bound.level),
    ]
    if bound.images_needed is not None:
        lines.append(
            f"About {_rounded(bound.images_needed):,} test images would show this lead whatever the overlap; "
            "the answers to each image would show it with fewer."
        )
    about = (
        "these very checkpoints; they say nothing about other seeds"
        if bound.seeds == 1
        else "new seeds and images"
    )
    lines.append(f"These are bounds, for which images each got right is not told. They are about {about}.")
    return "\n".join(lines)


def _line(when: str, overlap: Overlap, level: float) -> str:
    return (
        f"  {when}: {100 * level:g}% CI {100 * overlap.low:.2f} to {100 * overlap.high:.2f}, "
        f"p = {_small(overlap.p_value)}, the claim is false with probability {_small(overlap.false_claim)}"
    )


def _small(value: float) -> str:
    return "under 0.001" if value < 0.001 else f"{value:.2g}"


def _rounded(number: int) -> int:
    unit = 10 ** max(len(str(number)) - 2, 0)
    return -(-number // unit) * unit
