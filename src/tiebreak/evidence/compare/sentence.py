"""A verdict as one plain English sentence, with its numbers."""

import math

from tiebreak.evidence.compare.comparison import Comparison, Method
from tiebreak.evidence.compare.verdict import Need, Outcome, Verdict


def sentence(verdict: Verdict, a: str, b: str, *, unit: str = "points", scale: float = 100.0) -> str:
    """Say the verdict about contenders named a and b.

    A score in 0..1 is shown in points; for a loss give its own unit ("nats") and `scale=1`.
    """
    comparison = verdict.comparison
    if verdict.outcome is Outcome.UNDECIDED:
        return _undecided(verdict, a, b, unit, scale)
    if verdict.outcome is Outcome.EQUIVALENT:
        return _equivalent(verdict, a, b, unit, scale)
    winner, loser, sign = (a, b, 1) if verdict.outcome is Outcome.A_BETTER else (b, a, -1)
    text = (
        f"{winner} beats {loser} by {_amount(abs(comparison.difference), scale, unit, comparison)} "
        f"({_interval(comparison, scale, sign)}{_adjusted(verdict)}; {_data(comparison)})"
    )
    if verdict.negligible:
        margin = _amount(verdict.margin or 0.0, scale, unit)
        text += f", but negligibly: within {margin} ({_equivalence_interval(verdict, scale, sign)})"
    if verdict.superiority is not None:
        least = _amount(verdict.superiority, scale, unit)
        text += (
            f", and by at least {least}"
            if verdict.superior
            else f", but by less than {least}"
            if verdict.shown_smaller
            else f"; whether by at least {least} is undecided"
        )
    return f"{text}.{_warnings(comparison, a, b)}"


def _equivalent(verdict: Verdict, a: str, b: str, unit: str, scale: float) -> str:
    comparison = verdict.comparison
    leader, sign = (a, 1) if comparison.difference >= 0 else (b, -1)
    lead = _amount(abs(comparison.difference), scale, unit, comparison)
    seen = f"{leader} leads by {lead}" if comparison.difference else "they are level"
    return (
        f"{a} and {b} are equivalent within {_amount(verdict.margin or 0.0, scale, unit)}: {seen} "
        f"({_equivalence_interval(verdict, scale, sign)}; {_data(comparison)}).{_warnings(comparison, a, b)}"
    )


def _undecided(verdict: Verdict, a: str, b: str, unit: str, scale: float) -> str:
    comparison = verdict.comparison
    leader, other, sign = (a, b, 1) if comparison.difference >= 0 else (b, a, -1)
    lead = _amount(abs(comparison.difference), scale, unit, comparison)
    seen = f"{leader} leads {other} by {lead}" if comparison.difference else f"{a} and {b} are level"
    facts = f"({_interval(comparison, scale, sign)}{_adjusted(verdict)}; {_data(comparison)})"
    warnings = _warnings(comparison, a, b)
    if comparison.method is Method.ONE_SEED:
        return (
            f"undecided: with one seed, {seen} {facts}, but that is about these two checkpoints only "
            f"({_p(comparison.p_value)}). {_advice(verdict)}"
        )
    if (
        comparison.n_seeds == 2 and comparison.method is not Method.FOLDS
    ):  # their interval says nothing that a reader could use
        what = "seeds" if comparison.seeds_a_search == 1 else "searches"
        return f"undecided: 2 {what} cannot tell; {seen} ({_data(comparison)}). {_advice(verdict)}{warnings}"
    return f"undecided: {seen} {facts}. {_could_have_shown(verdict, unit, scale)}{_advice(verdict)}{warnings}"


def _could_have_shown(verdict: Verdict, unit: str, scale: float) -> str:
    """The minimum detectable effect: what a study of this size is good for."""
    if verdict.detectable is None:
        return ""
    number = (
        f"{scale * verdict.detectable:.2g}"
        if scale * verdict.detectable < 10
        else f"{scale * verdict.detectable:.0f}"
    )
    return f"It could have shown {number} {unit} or more (80% power). "


def _advice(verdict: Verdict) -> str:
    step, comparison = verdict.next_step, verdict.comparison
    if step.need is Need.NEXT_LOOK:
        return f"The next look is at {step.total:,} seeds."
    if step.need is Need.MORE_DATA:
        return "More repeats would help little, for all folds share their images; more data would."
    if comparison.method is Method.CHECKPOINTS and step.total is not None:
        return f"If the true difference is near this, about {step.total:,} test images would decide it."
    if comparison.method is Method.ONE_SEED:
        return "Train at least 3 seeds." if comparison.seeds_a_search == 1 else "Search at least 3 times."
    if comparison.n_seeds == 2:
        if comparison.seeds_a_search > 1:
            return "Search a third time: two searches show too little of the luck of searching."
        return "Train a third seed: two show too little of the luck of the seed."
    what = "seeds" if comparison.seeds_a_search == 1 else "searches"
    seeds = f"{step.seeds or 0:,} {what} in all on these test images"
    chance = step.chance or 0.0
    if step.need is Need.MORE_SEEDS and step.total is not None:
        return f"About {seeds} would decide it with a chance of {_chance(chance, 'about ')}."
    text = f"Even with {seeds}, the chance to decide it is {_chance(chance)}"
    if step.need is Need.MORE_IMAGES and step.total is not None:
        return (
            f"{text}; if the true difference is near this, about {step.total:,} test images probably would."
        )
    if step.need is Need.A_MARGIN:
        return f"{text}; declare an equivalence margin to ask whether a lead this small matters."
    return f"{text}."


def _chance(value: float, about: str = "") -> str:
    return "under 1%" if value < 0.01 else "over 99%" if value > 0.99 else f"{about}{value:.0%}"


def _interval(comparison: Comparison, scale: float, sign: int) -> str:
    low, high = sorted((sign * comparison.ci_low, sign * comparison.ci_high))
    about = {
        Method.ONE_SEED: " for these two checkpoints",
        Method.CHECKPOINTS: " for these two checkpoints",
        Method.FIXED_TEST_SET: " on this fixed test set",
    }.get(comparison.method, "")
    if comparison.other_data:
        about += " with other training images"
    return f"{100 * comparison.level:g}% CI {_range(low, high, scale)}{about}"


def _equivalence_interval(verdict: Verdict, scale: float, sign: int = 1) -> str:
    low, high = verdict.equivalence_low or 0.0, verdict.equivalence_high or 0.0
    low, high = sorted((sign * low, sign * high))
    level = verdict.equivalence_level or 0.0
    return f"{100 * level:.4g}% CI {_range(low, high, scale)}"


def _range(low: float, high: float, scale: float) -> str:
    digits = _digits(low, high, scale)
    return f"{_number(low * scale, digits)} to {_number(high * scale, digits)}"


def _amount(value: float, scale: float, unit: str, comparison: Comparison | None = None) -> str:
    """A difference with the digits its interval deserves; a margin (no comparison) as it was declared."""
    if comparison is None:
        number = f"{value * scale:.6g}"
    else:
        number = _number(value * scale, _digits(comparison.ci_low, comparison.ci_high, scale))
    return f"{number} {'point' if unit == 'points' and number == '1' else unit}".rstrip()


def _digits(low: float, high: float, scale: float) -> int:
    """One decimal; more where the interval is narrow or an end would wrongly read as 0."""
    width = (high - low) * scale
    # scale 1 is a loss, whose tenths are already coarse; the same rule on the width serves both.
    digits = 1 if width >= 0.4 or width <= 0 else min(2 - math.floor(math.log10(width)), 6)
    ends = [abs(end) * scale for end in (low, high) if end]
    while digits < 6 and any(round(end, digits) == 0 for end in ends):
        digits += 1
    return digits


def _number(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:,.{digits}f}"  # adding 0 turns -0.0 into 0.0


def significant(value: float, digits: int) -> str:
    """A number in so many digits, written out where it is large: 113.2 in two is "110", not "1.1e+02"."""
    return f"{float(f'{value:.{digits}g}'):,.15g}"


def _adjusted(verdict: Verdict) -> str:
    if verdict.n_comparisons == 1:
        return ""
    return f" for this pair alone, {_p(verdict.p_value)} adjusted for {verdict.n_comparisons} comparisons"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _data(comparison: Comparison) -> str:
    n, m = comparison.n_seeds, comparison.n_examples
    if comparison.method is Method.FOLDS:
        return f"{n:,} folds, Nadeau-Bengio's correction; {m:,} test images"
    if comparison.seeds_a_search > 1:
        return f"{n:,} searches of {comparison.seeds_a_search} paired seeds each, {m:,} test images"
    kind = "unpaired " if comparison.method is Method.UNPAIRED else "paired "
    parts = [f"{n:,} {kind}seed{'s' if n > 1 else ''}" if n > 1 else "1 seed", f"{m:,} test images"]
    if comparison.n_groups is not None:
        parts[1] += f" in {comparison.n_groups:,} groups"
    if comparison.missing_seeds:
        numbers = ", ".join(map(str, comparison.missing_seeds))
        parts.append(
            f"seed{'s' if len(comparison.missing_seeds) > 1 else ''} {numbers} missing from one of them"
        )
    return ", ".join(parts)


def _warnings(comparison: Comparison, a: str, b: str) -> str:
    names = {"a": a, "b": b}
    about = " This says nothing about other seeds." if comparison.method is Method.CHECKPOINTS else ""
    return about + "".join(
        f" Seed {c.seed} of {names[c.contender]} collapsed ({100 * c.accuracy:.1f}% against a median of "
        f"{100 * c.median:.1f}%)."
        for c in comparison.collapsed
    )
