"""What the measurements say about a claim: shown, refuted, or not enough data.

What is exact (parameters, FLOPs) is checked exactly; what was measured on seeds is judged by an interval at
the stated level. The reading is one-sided: a claim is shown where the whole two-sided interval lies on its
side and refuted where it lies wholly on the other, so that a false "shown" has a probability of at most
alpha / 2, and agrees with the verdict of a comparison. Claims are judged one by one; nothing is adjusted for
their number.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tiebreak.errors import ClaimError, did_you_mean
from tiebreak.evidence.claims.grammar import Claim, Relation, Term, shown
from tiebreak.evidence.compare.comparison import compare_scores, interval_at
from tiebreak.evidence.compare.interval import half_width

Values = int | float | np.ndarray  # exact | one per seed | one per [seed, example]


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
    value: float
    low: float | None  # None: exact, or unknown
    high: float | None
    level: float | None  # of low .. high
    n_seeds: int | None


def judge_claim(
    claim: Claim, measured: Mapping[str, Mapping[str, Values]], *, level: float = 0.95
) -> ClaimOutcome:
    """Hold a claim against what was measured: contender -> metric -> values.

    A plain number is exact; an array [seed] is judged by a t interval over the seeds, an array
    [seed, example] by the interval over seeds and test images. Row s of all arrays is the same seed; one seed
    is never enough.
    "~" is two one-sided tests, as in a verdict: shown where the 1 - 2 alpha interval lies inside the
    margin, refuted where the interval at `level` lies wholly outside.

    Raises: ClaimError for an unknown contender or metric, or values of a claim that do not go together.
    """
    total, constant, bound = _add_up(claim, measured)
    if total is None:
        return _exactly(claim, constant)
    if total.ndim == 1:
        return _over_seeds(claim, total, constant, level)
    if bound is not None and abs(claim.constant) > 2 * bound:  # 15, where 15 points were meant
        raise ClaimError(
            f'"{shown(claim.text)}": accuracies are fractions, and {abs(claim.constant):g} is out of reach; '
            "write e.g. 0.15, 15% or 15 points."
        )
    comparison = compare_scores(total, bound=bound, level=level)
    return _by_interval(
        claim,
        comparison.difference,
        (comparison.ci_low, comparison.ci_high),
        interval_at(comparison, _inner(level)),
        constant,
        level,
        comparison.n_seeds,
    )


def claim_line(outcome: ClaimOutcome) -> str:
    """In one line: `shown: cnn - mlp >= 0.15 (measured 0.194, 95% CI 0.182 to 0.206, 5 seeds)`."""
    text = f"{outcome.finding}: {shown(outcome.claim.text)} (measured {_number(outcome.value)}"
    if outcome.low is None or outcome.high is None or outcome.level is None:
        return f"{text}, exact)" if outcome.n_seeds is None else f"{text}, {outcome.n_seeds} seed)"
    seeds = f"{outcome.n_seeds} seed{'' if outcome.n_seeds == 1 else 's'}"
    return f"{text}, {100 * outcome.level:.4g}% CI {outcome.low:.4g} to {outcome.high:.4g}, {seeds})"


def _number(value: float) -> str:
    """Four digits; a count is written out."""
    return f"{value:,.0f}" if value == round(value) and abs(value) >= 1_000 else f"{value:.4g}"


def _add_up(
    claim: Claim, measured: Mapping[str, Mapping[str, Values]]
) -> tuple[np.ndarray | None, float, float | None]:
    """The claim's sum: what was measured on seeds, the exact rest, and a bound of the former, if any."""
    total, constant, shapes = None, claim.constant, set()
    correctness = True
    for term in claim.terms:
        value = _lookup(term, measured, claim)
        if not np.isfinite(value).all():
            raise ClaimError(f'"{shown(claim.text)}": {_name(term)} is not a finite number.')
        if np.ndim(value) == 0:
            constant += term.factor * float(value)
            continue
        array = np.asarray(value)
        shapes.add(array.shape)
        if array.ndim > 2 or len(shapes) > 1:
            names = ", ".join(map(_name, claim.terms))
            raise ClaimError(
                f"{names} were not measured on the same seeds and images, so one claim cannot join them; "
                "make it two claims."
            )
        correctness = correctness and array.dtype == np.bool_
        total = term.factor * array.astype(np.float64) + (0.0 if total is None else total)
    if not math.isfinite(constant):
        raise ClaimError(f'"{shown(claim.text)}": its exact values add up to too large a number.')
    factors = np.array([term.factor for term in claim.terms])
    # Sums of 0 and 1 lie between the sum of the negative factors and that of the positive ones.
    bound = float(max(factors[factors > 0].sum(), -factors[factors < 0].sum()))
    return total, constant, bound if correctness else None


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


def _over_seeds(claim: Claim, total: np.ndarray, constant: float, level: float) -> ClaimOutcome:
    n, mean = len(total), float(total.mean())
    variance = float(total.var(ddof=1)) / n if n > 1 else math.inf

    def interval(at: float) -> tuple[float, float]:
        reach = float(half_width(1 - at, variance, max(n - 1, 1), 0.0))
        return mean - reach, mean + reach

    return _by_interval(claim, mean, interval(level), interval(_inner(level)), constant, level, n)


def _inner(level: float) -> float:
    """The level of the interval that two one-sided tests ask about; below 50% there is none, so a sliver."""
    return max(1 - 2 * (1 - level), 1e-9)


def _by_interval(
    claim: Claim,
    value: float,
    whole: tuple[float, float],
    inner: tuple[float, float],
    constant: float,
    level: float,
    n_seeds: int,
) -> ClaimOutcome:
    """Shown or refuted by where the intervals lie, once the claim's constant is on the other side."""
    low, high = (end + constant for end in whole)
    margin = claim.margin or 0.0
    alike = -margin < inner[0] + constant and inner[1] + constant < margin
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
    ends = inner if by_inner else whole
    known = bool(np.isfinite(ends).all())
    return ClaimOutcome(
        claim=claim,
        finding=finding,
        value=value + (constant - claim.constant),
        low=ends[0] + (constant - claim.constant) if known else None,
        high=ends[1] + (constant - claim.constant) if known else None,
        level=_inner(level) if by_inner else level,
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
    if term.metric not in metrics:
        raise ClaimError(
            f'"{shown(claim.text)}": nothing called "{term.metric}" was measured of {term.contender}. '
            f"{did_you_mean(term.metric, metrics)}"
        )
    return metrics[term.metric]
