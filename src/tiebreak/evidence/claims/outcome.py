"""What the measurements say about a claim: shown, refuted, or not enough data.

What is exact (parameters, FLOPs) is checked exactly; what was measured on seeds is judged by an interval at
the stated level. The reading is one-sided: a claim is shown where the whole two-sided interval lies on its
side and refuted where it lies wholly on the other, so that a false "shown" has a probability of at most
alpha / 2, and agrees with the verdict of a comparison. Claims are judged one by one; nothing is adjusted for
their number. In a study that may stop early, a claim about test accuracy has the interval of its verdicts,
any other one at 1 - alpha / looks, which holds at any look by a union bound.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np

from tiebreak.errors import ClaimError, did_you_mean
from tiebreak.evidence.claims.grammar import Claim, Relation, Term, shown
from tiebreak.evidence.compare.comparison import Comparison, interval_at
from tiebreak.evidence.compare.interval import Part, half_width
from tiebreak.evidence.compare.pair import compare_scores
from tiebreak.evidence.compare.sentence import significant
from tiebreak.evidence.compare.sequential import SequentialPlan, joint_interval, snapshot
from tiebreak.evidence.compare.until_decided import Seeds, shared_seeds

# Exact, or by seed: a number, or one for each test image.
Values = int | float | Mapping[int, float | np.ndarray]
Interval = Callable[[float], tuple[float, float]]  # at a level


@dataclass(frozen=True, kw_only=True)
class Looks:
    """The rule of a study that may stop early, and the seeds planned up to each look so far."""

    plan: SequentialPlan
    seeds: tuple[Seeds, ...]


@dataclass(frozen=True, kw_only=True)
class _Sum:
    """What a claim adds up to."""

    exact: float  # the claim's constant, and what is known exactly
    seeds: Seeds  # that all that was measured has; none where nothing was
    rows: np.ndarray  # what was measured, [seed] or [seed, example]
    bounds: tuple[float, float] | None  # of a sum of right and wrong answers
    step: float  # which whole numbers of images leave between two values; 0: any value is possible


class Finding(StrEnum):
    """What the measurements say about a claim."""

    SHOWN = "shown"
    REFUTED = "refuted"
    NOT_ENOUGH_DATA = "not enough data"


@dataclass(frozen=True, kw_only=True)
class ClaimOutcome:
    """A judged claim: the sum of its terms (without its constant), and the interval that decided."""

    claim: Claim
    finding: Finding
    value: float | None  # None: it cannot be measured, for the reason given
    low: float | None  # None: exact, or unknown
    high: float | None
    level: float | None  # of low .. high
    n_seeds: int | None
    reason: str | None = None

    def __str__(self) -> str:
        return claim_line(self)


def judge_claim(
    claim: Claim,
    measured: Mapping[str, Mapping[str, Values]],
    *,
    level: float = 0.95,
    looks: Looks | None = None,
    steps: Mapping[str, float] | None = None,
    groups: np.ndarray | None = None,
    by_design: Comparison | None = None,
) -> ClaimOutcome:
    """Hold a claim against what was measured: contender -> metric -> values.

    A plain number is exact; numbers by seed are judged by a t interval over the seeds, arrays of right and
    wrong answers or losses by the interval over seeds and test images, each over the seeds that all values of
    the claim have. One seed is never enough.
    "~" is two one-sided tests, as in a verdict: shown where the 1 - 2 alpha interval (that of all looks, if
    there are several) lies inside the margin, refuted where the interval at `level` lies wholly outside.

    Arguments: `steps` - by metric: the step between two values that it can take in one seed; `groups` - one
    name an image where images come in groups, which are then what is drawn; `by_design` - of a claim about
    the difference of two contenders, where their seeds are not simply paired.

    Raises: ClaimError for an unknown contender or metric, or values of a claim that do not go together.
    """
    if by_design is not None:
        inner = max(1 - 2 * (1 - level), 1e-9)
        at = partial(interval_at, by_design)
        return _by_interval(
            claim, by_design.difference, at, claim.constant, (level, inner), by_design.n_seeds
        )
    total = _add_up(claim, measured, steps or {})
    if not total.seeds:
        return _exactly(claim, total.exact)
    if total.bounds is not None and abs(total.exact) > 2 * max(map(abs, total.bounds)):
        raise ClaimError(  # 15, where 15 points were meant
            f'"{shown(claim.text)}": accuracies are fractions, and {abs(total.exact):g} is out of reach; '
            "write e.g. 0.15, 15% or 15 points."
        )
    if looks is not None and total.bounds is not None:
        value, interval, n = _at_looks(total, looks)
        return _by_interval(claim, value, interval, total.exact, (level, level), n)
    if looks is not None:
        level = 1 - (1 - level) / len(looks.plan.looks)
    inner = max(1 - 2 * (1 - level), 1e-9)  # below a level of 50% there is none, so a sliver
    value, interval, n = _at_once(total, groups)
    return _by_interval(claim, value, interval, total.exact, (level, inner), n)


def not_measured(claim: Claim, reason: str) -> ClaimOutcome:
    """A claim about a contender that has no run."""
    return ClaimOutcome(
        claim=claim,
        finding=Finding.NOT_ENOUGH_DATA,
        value=None,
        low=None,
        high=None,
        level=None,
        n_seeds=None,
        reason=reason,
    )


def claim_line(outcome: ClaimOutcome) -> str:
    """In one line: `shown: cnn - mlp >= 0.15 (measured 0.194, 95% CI 0.182 to 0.206, 5 seeds)`."""
    text = f"{outcome.finding}: {shown(outcome.claim.text)}"
    if outcome.value is None:
        return f"{text} ({outcome.reason})"
    text += f" (measured {_number(outcome.value)}"
    if outcome.low is None or outcome.high is None or outcome.level is None:
        return f"{text}, exact)" if outcome.n_seeds is None else f"{text}, {outcome.n_seeds} seed)"
    seeds = f"{outcome.n_seeds} seed{'' if outcome.n_seeds == 1 else 's'}"
    return (
        f"{text}, {100 * outcome.level:.4g}% CI {_number(outcome.low)} to {_number(outcome.high)}, {seeds})"
    )


def _number(value: float) -> str:
    """Four digits; a count is written out."""
    return f"{value:,.0f}" if value == round(value) and abs(value) >= 1_000 else significant(value, 4)


def _add_up(claim: Claim, measured: Mapping[str, Mapping[str, Values]], steps: Mapping[str, float]) -> _Sum:
    exact, terms = claim.constant, []
    for term in claim.terms:
        value = _lookup(term, measured, claim)
        if isinstance(value, Mapping):
            terms.append((term, value))
        else:
            exact += term.factor * value
    if not math.isfinite(exact):
        raise ClaimError(f'"{shown(claim.text)}": its exact values add up to too large a number.')
    names = ", ".join(_name(term) for term, _ in terms)
    seeds = sorted(set.intersection(*(set(values) for _, values in terms))) if terms else []
    if terms and not seeds:
        raise ClaimError(f'"{shown(claim.text)}": {names} have no seed in common.')
    arrays = [np.array([values[seed] for seed in seeds]) for _, values in terms]
    for (term, _), array in zip(terms, arrays, strict=True):
        if not np.isfinite(array).all():
            raise ClaimError(f'"{shown(claim.text)}": {_name(term)} is not a finite number.')
    if len({array.shape for array in arrays}) > 1:
        raise ClaimError(
            f"{names} were not measured on the same seeds and images, so one claim cannot join them; "
            "make it two claims."
        )
    factors = np.array([term.factor for term, _ in terms])
    total = sum(factor * array.astype(np.float64) for factor, array in zip(factors, arrays, strict=True))
    # Sums of 0 and 1 lie between the sum of the negative factors and that of the positive ones.
    bounds = (float(factors[factors < 0].sum()), float(factors[factors > 0].sum()))
    correctness = all(array.dtype == np.bool_ for array in arrays)
    return _Sum(
        exact=exact,
        seeds=tuple(seeds),
        rows=np.asarray(total),
        bounds=bounds if terms and correctness else None,
        step=min((abs(term.factor) * steps.get(term.metric, 0.0) for term, _ in terms), default=0.0),
    )


def _at_once(total: _Sum, groups: np.ndarray | None = None) -> tuple[float, Interval, int]:
    """The mean, its interval at any level, and the number of seeds."""
    rows, n = total.rows, len(total.rows)
    if rows.ndim == 2:
        low, high = total.bounds or (None, None)
        comparison = compare_scores(rows, bound=high, lowest=low, groups=groups)
        return comparison.difference, lambda level: interval_at(comparison, level), n
    mean = float(rows.mean())
    # Seeds that happen to agree are still rounded to a step.
    variance = max(float(rows.var(ddof=1)), total.step**2 / 12) / n if n > 1 else math.inf
    part = Part(variance=variance, df=max(n - 1, 1))
    return mean, lambda level: (mean - half_width(1 - level, part), mean + half_width(1 - level, part)), n


def _at_looks(total: _Sum, looks: Looks) -> tuple[float, Interval, int]:
    """The same for right and wrong answers, by the interval that allows for all looks."""
    history = shared_seeds(looks.seeds, [total.seeds])
    low, high = total.bounds or (None, None)
    found = [
        compare_scores(total.rows[np.isin(total.seeds, seeds)], bound=high, lowest=low) for seeds in history
    ]
    if not found:
        return _at_once(total)[0], lambda level: (-math.inf, math.inf), 1
    snapshots = [snapshot(comparison) for comparison in found]

    def interval(level: float) -> tuple[float, float]:
        ends = np.clip(joint_interval(looks.plan, snapshots, level), low, high)
        return float(ends[0]), float(ends[1])

    return found[-1].difference, interval, found[-1].n_seeds


def _exactly(claim: Claim, total: float) -> ClaimOutcome:
    holds = {
        Relation.AT_LEAST: total >= 0,
        Relation.AT_MOST: total <= 0,
        Relation.ABOVE: total > 0,
        Relation.BELOW: total < 0,
        Relation.ALIKE: abs(total) <= (claim.margin or 0.0),
    }[claim.relation]
    return ClaimOutcome(
        claim=claim,
        finding=Finding.SHOWN if holds else Finding.REFUTED,
        value=total - claim.constant,
        low=None,
        high=None,
        level=None,
        n_seeds=None,
    )


def _by_interval(
    claim: Claim,
    value: float,
    interval: Interval,
    exact: float,
    levels: tuple[float, float],
    n_seeds: int,
) -> ClaimOutcome:
    """Shown or refuted by where the intervals lie, once what is exact is on the other side."""
    level, inner = levels
    low, high = (end + exact for end in interval(level))
    inside_low, inside_high = (end + exact for end in interval(inner))
    margin = claim.margin or 0.0
    alike = -margin < inside_low and inside_high < margin
    holds, fails = {
        Relation.AT_LEAST: (low >= 0, high < 0),
        Relation.ABOVE: (low > 0, high <= 0),
        Relation.AT_MOST: (high <= 0, low > 0),
        Relation.BELOW: (high < 0, low >= 0),
        Relation.ALIKE: (alike, low > margin or high < -margin),
    }[claim.relation]
    finding = Finding.SHOWN if holds else Finding.REFUTED if fails else Finding.NOT_ENOUGH_DATA
    if n_seeds == 1:
        finding = Finding.NOT_ENOUGH_DATA
    by_inner = claim.relation is Relation.ALIKE and finding is Finding.SHOWN
    ends = (inside_low, inside_high) if by_inner else (low, high)
    known = bool(np.isfinite(ends).all())
    return ClaimOutcome(
        claim=claim,
        finding=finding,
        value=value + (exact - claim.constant),
        low=ends[0] - claim.constant if known else None,
        high=ends[1] - claim.constant if known else None,
        level=inner if by_inner else level,
        n_seeds=n_seeds,
    )


def _name(term: Term) -> str:
    return f"{term.contender}.{term.metric}"


def _lookup(term: Term, measured: Mapping[str, Mapping[str, Values]], claim: Claim) -> Values:
    if term.contender not in measured:
        hint = did_you_mean(term.contender, measured)
        if "-" in term.contender and "(" not in term.contender:
            hint += " A difference takes blanks around its minus."
        raise ClaimError(f'"{shown(claim.text)}": no contender is called "{term.contender}". {hint}')
    metrics = measured[term.contender]
    if metrics.get(term.metric, {}) == {}:
        raise ClaimError(
            f'"{shown(claim.text)}": nothing called "{term.metric}" was measured of {term.contender}. '
            f"{did_you_mean(term.metric, metrics)}"
        )
    return metrics[term.metric]
