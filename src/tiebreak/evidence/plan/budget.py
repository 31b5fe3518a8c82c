"""Before the money is spent: seeds and training time for a difference, from a pilot or from defaults."""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.judgement import rank_contenders
from tiebreak.evidence.compare.power import (
    Advice,
    Setting,
    bound_test_sd,
    plan_seeds,
    power_curve,
    seeds_for_equivalence,
    setting_from_pilot,
)
from tiebreak.results.results import Results

DEFAULT_SEED_SD = (
    0.005  # of one contender's accuracy: half a point, between what CIFAR-10 and small data show
)
CURVE_POINTS, CURVE_END = 12, 30  # of the power curve; more seeds where the advice asks for more


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a budget rests on."""

    source: str  # in words
    setting: Setting
    seconds_per_seed: float | None  # to train and evaluate all contenders of the pilot once
    test_images: int


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The answer to "what would it take?"."""

    basis: Basis
    advice: Advice
    equivalence_seeds: int | None  # to show two equal contenders equivalent within the difference
    seeds: tuple[int, ...]  # of the curve
    power: tuple[float, ...]


def basis_from_pilot(
    results: Results, level: float | None = None, chosen: tuple[str, str] | None = None
) -> Basis:
    """What a pilot shows of the pair that is chosen; by default of the one whose difference is least certain.

    Raises: EvidenceError where no two contenders, or not the chosen ones, share two seeds.
    """
    ranking = rank_contenders(results)
    pairs = {frozenset((pair.a, pair.b)): pair for pair in (ranking.pairs if ranking else ())}
    usable = {names: pair for names, pair in pairs.items() if pair.comparison.n_seeds > 1}
    if chosen is not None:
        for label in chosen:
            results.of(label)
        usable = {names: pair for names, pair in usable.items() if names == frozenset(chosen)}
    if not usable:
        who = " and ".join(chosen) if chosen else "2 contenders"
        raise EvidenceError(f"{results.source}: a pilot needs at least 2 seeds that {who} share.")
    level = results.rule.level if level is None else level
    settings = {
        names: setting_from_pilot(pair.comparison, level=level, comparisons=len(pairs))
        for names, pair in usable.items()
    }

    def uncertain(names: frozenset[str]) -> float:
        """With the seeds of the pilot, as one scale for both parts."""
        seeds = usable[names].comparison.n_seeds
        return math.hypot(settings[names].seed_sd / seeds**0.5, settings[names].test_sd)

    names = max(usable, key=uncertain)
    pair = usable[names]
    several = f", the least certain of {len(usable)} pairs" if len(usable) > 1 else ""
    return Basis(
        source=f"a pilot of {pair.comparison.n_seeds} seeds: {pair.a} against {pair.b}{several}",
        setting=settings[names],
        seconds_per_seed=_seconds_per_seed(results),
        test_images=pair.comparison.n_examples,
    )


def basis_from_defaults(
    test_images: int,
    accuracy: float,
    difference: float,
    *,
    level: float = 0.95,
    contenders: int = 2,
    seed_sd: float = DEFAULT_SEED_SD,
) -> Basis:
    """Bounds where nothing was measured yet.

    Two contenders of this accuracy that err independently disagree on 2 p (1 - p) of the images; real ones
    share most of their errors and so disagree on fewer. `seed_sd` is that of one contender's accuracy; the
    luck of seed and image is added to it at its bound.

    Raises: EvidenceError unless the accuracy lies between 0 and 1, with at least 2 images and contenders.
    """
    if not 0 < accuracy < 1:
        raise EvidenceError(f"an accuracy must lie between 0 and 1, such as 0.9; got {accuracy:g}.")
    if test_images < 2 or contenders < 2:
        raise EvidenceError(
            f"a plan needs at least 2 test images and 2 contenders, got {test_images} and {contenders}."
        )
    if not 0 < difference <= 1:
        raise EvidenceError(f"a difference must lie between 0 and 1 (0.01 is one point), got {difference:g}.")
    disagreement = max(2 * accuracy * (1 - accuracy), difference)
    of_a_pair = math.sqrt(2 * seed_sd**2 + disagreement / test_images)
    setting = Setting(
        seed_sd=of_a_pair,
        test_sd=bound_test_sd(disagreement, difference, test_images),
        level=level,
        comparisons=len(list(combinations(range(contenders), 2))),
    )
    return Basis(
        source=(
            f"bounds, for want of a pilot: errors on {disagreement:.0%} of the images not shared, accuracy "
            f"varying by {100 * seed_sd:g} points from seed to seed; a pilot of 3 seeds would say better"
        ),
        setting=setting,
        seconds_per_seed=None,
        test_images=test_images,
    )


def make_budget(basis: Basis, difference: float, power: float = 0.8) -> Budget:
    """Seeds for a difference, what this test set can ever show, and the power at other numbers of seeds.

    Raises: EvidenceError unless difference and power lie between 0 and 1.
    """
    advice = plan_seeds(basis.setting, difference, power)
    wanted = advice.seeds or 2
    grid = np.geomspace(2, max(CURVE_END, 1.25 * wanted), CURVE_POINTS).round().astype(int).tolist()
    seeds = tuple(sorted({*grid, wanted}))
    curve = power_curve(basis.setting, np.array(seeds), difference)
    return Budget(
        basis=basis,
        advice=advice,
        equivalence_seeds=seeds_for_equivalence(basis.setting, difference, power),
        seeds=seeds,
        power=tuple(float(value) for value in curve),
    )


def _seconds_per_seed(results: Results) -> float | None:
    """Of all contenders, one after another: the mean over their finished runs; None if it is not known."""
    total = 0.0
    for contender in results.contenders:
        timings = [run.timing for run in contender.runs.values() if run.timing]
        if not timings:
            return None
        total += sum(t.train_seconds + t.evaluate_seconds for t in timings) / max(len(timings), 1)
    return total
