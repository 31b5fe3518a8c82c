"""Seeds until decided: looks declared beforehand, so that looking early cannot raise the error rate.

A repeated confidence interval (Jennison & Turnbull 1984, Control Clin Trials 5:33) at each look. The seed
part is a union bound over the L looks; the test-set part is one draw that all looks share, and needs none:

    HW_k^2 = t(1 - alpha / (2 L), n_k - 1)^2 * A_k  +  t(1 - 0.75 * alpha / 2, m - 1)^2 * B_k

All looks hold at once, so what is known is where their intervals meet. The p-value is the alpha at which that
ends at 0: both are one rule. The share 0.75 was found by simulation over all ratios of A to B: any-look error
of at most 4.7% at alpha 5%, 9.4% at 10%, 0.91% at 1%. It is a numerical guarantee, not a proof. The
difference at an early stop is biased away from 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Comparison
from tiebreak.evidence.compare.interval import Part, check_level, half_width, leg, p_value
from tiebreak.evidence.compare.simultaneous import holm
from tiebreak.results.looks import DEFAULT_LOOKS, are_rising

TEST_SPLIT = 0.75
# An "undecided" for want of test images claims nothing, so its band may be as wide as it likes at no cost.
FUTILITY_SPLIT = 0.75
SEEDS_SETTLED = 0.25  # futility only once the seeds' variance is under this share of the test set's


class Reason(StrEnum):
    """Why to stop, or that there is none yet."""

    CONTINUE = "continue"
    A_BETTER = "a better"
    B_BETTER = "b better"
    EQUIVALENT = "equivalent"
    FUTILE = "more seeds cannot decide it"  # the test set is too small for the difference there is
    LAST_LOOK = "last look"


@dataclass(frozen=True, kw_only=True)
class SequentialPlan:
    """When to look and what to decide, fixed before the first run.

    Raises: EvidenceError unless the looks rise from at least 2 seeds and the margin, if any, is positive.
    """

    looks: tuple[int, ...] = DEFAULT_LOOKS  # seeds in all at each look
    level: float = 0.95
    equivalence: float | None = None  # margin, as a share (0.01 is one point)

    def __post_init__(self) -> None:
        check_level(self.level)
        if not are_rising(self.looks):
            raise EvidenceError(
                f"looks must be rising numbers of seeds from 2 on, such as 3,5,8; got {_listed(self.looks)}."
            )
        if self.equivalence is not None and not 0 < self.equivalence < 1:
            raise EvidenceError(
                f"an equivalence margin lies between 0 and 1 (0.01 is one point), got {self.equivalence:g}."
            )


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What one look saw."""

    n_seeds: int
    difference: float
    seed_variance: float  # A
    test_variance: float  # B
    test_df: float  # degrees of freedom of B


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a look entitles one to do. The interval is valid at whatever look the study stops."""

    stop: bool
    reason: Reason
    difference: float  # at the latest look; the end of the interval next to it, should it lie outside
    ci_low: float
    ci_high: float
    level: float
    p_value: float  # sequential: valid at any look; adjusted by Holm where several pairs were looked at
    p_equivalence: float | None
    n_seeds: int
    next_look: int | None  # seeds in all at the next look, if there is one and it is needed


def snapshot(comparison: Comparison) -> Snapshot:
    """The part of a comparison that the rule needs.

    Raises: EvidenceError with one seed, which has no variance.
    """
    if comparison.seed_variance is None:
        raise EvidenceError("a look needs at least 2 seeds, got 1.")
    return Snapshot(
        n_seeds=comparison.n_seeds,
        difference=comparison.difference,
        seed_variance=comparison.seed_variance,
        test_variance=comparison.test_variance,
        test_df=comparison.units - 1,
    )


def look(plan: SequentialPlan, history: Sequence[Snapshot], looks_done: int | None = None) -> Decision:
    """Decide after the latest of the looks so far, of one pair of contenders.

    `looks_done`: how many of the looks are over, where some of them showed nothing new because runs failed.

    Raises: EvidenceError if the history is not one snapshot per look in order. A look may have fewer seeds
    than planned where runs failed, never more.
    """
    [decision] = look_all(plan, {("a", "b"): history}, looks_done).values()
    return decision


def look_all(
    plan: SequentialPlan,
    histories: Mapping[tuple[str, str], Sequence[Snapshot]],
    looks_done: int | None = None,
) -> dict[tuple[str, str], Decision]:
    """The same for every pair of several contenders, with Holm's adjustment over the sequential p-values.

    Differences and equivalences are two families, each with its own level. Stop when every pair says so.
    """
    done = {pair: looks_done or len(history) for pair, history in histories.items()}
    for pair, history in histories.items():
        _check_history(plan, history, done[pair])
    found = {pair: _sequential_p(plan, history) for pair, history in histories.items()}
    differ = holm({pair: p for pair, (p, _) in found.items()})
    equal = {pair: _sequential_p_equivalence(plan, history) for pair, history in histories.items()}
    alike = holm({pair: p for pair, p in equal.items() if p is not None})
    return {
        pair: _decide(plan, history, done[pair], differ[pair], found[pair][1], alike.get(pair))
        for pair, history in histories.items()
    }


def all_stopped(decisions: Mapping[tuple[str, str], Decision]) -> bool:
    """Whether no pair asks for more seeds."""
    return all(decision.stop for decision in decisions.values())


def _decide(
    plan: SequentialPlan,
    history: Sequence[Snapshot],
    looks_done: int,
    p: float,
    sign: float,
    p_equivalence: float | None,
) -> Decision:
    now, alpha = history[-1], 1 - plan.level
    low, high = np.clip(joint_interval(plan, history, plan.level), -1.0, 1.0).tolist()
    last = looks_done == len(plan.looks)
    if p <= alpha:
        reason = Reason.A_BETTER if sign > 0 else Reason.B_BETTER
    elif p_equivalence is not None and p_equivalence <= alpha:
        reason = Reason.EQUIVALENT
    elif _is_futile(plan, now):
        reason = Reason.FUTILE
    else:
        reason = Reason.LAST_LOOK if last else Reason.CONTINUE
    stop = reason is not Reason.CONTINUE
    return Decision(
        stop=stop,
        reason=reason,
        difference=min(max(now.difference, low), high),
        ci_low=low,
        ci_high=high,
        level=plan.level,
        p_value=p,
        p_equivalence=p_equivalence,
        n_seeds=now.n_seeds,
        next_look=None if stop else plan.looks[looks_done],
    )


def parts_of(plan: SequentialPlan, at: Snapshot) -> tuple[Part, Part]:
    """What the interval of one look counts, so that it allows for all looks of the plan."""
    return (
        Part(variance=at.seed_variance, df=at.n_seeds - 1, split=1 / len(plan.looks)),
        Part(variance=at.test_variance, df=at.test_df, split=TEST_SPLIT),
    )


def joint_interval(plan: SequentialPlan, history: Sequence[Snapshot], level: float) -> tuple[float, float]:
    """Where the intervals of all looks so far meet, at any level.

    Should two of them contradict each other (at most in 1 - level of studies), it is that of the look which
    is the surest that there is a difference.
    """
    reach = [half_width(1 - level, *parts_of(plan, at)) for at in history]
    ends = [(at.difference - half, at.difference + half) for at, half in zip(history, reach, strict=True)]
    low, high = max(low for low, _ in ends), min(high for _, high in ends)
    if low > high:
        low, high = ends[min(range(len(history)), key=lambda look: _p_differs(plan, history[look]))]
    return low, high


def _p_differs(plan: SequentialPlan, at: Snapshot) -> float:
    return p_value(at.difference, *parts_of(plan, at))


def _sequential_p(plan: SequentialPlan, history: Sequence[Snapshot]) -> tuple[float, float]:
    """The smallest p of all looks so far, and the difference at that look for its sign."""
    return min((_p_differs(plan, at), at.difference) for at in history)


def _sequential_p_equivalence(plan: SequentialPlan, history: Sequence[Snapshot]) -> float | None:
    """The smallest alpha at which the looks' intervals meet inside the margin.

    One look may show that the difference is below the margin, another that it is above minus the margin.
    """
    margin = plan.equivalence
    if margin is None:
        return None
    sides = [
        min((p_value(room, *parts_of(plan, at)) for at, room in rooms if room > 0), default=1.0)
        for rooms in (
            [(at, margin - at.difference) for at in history],
            [(at, margin + at.difference) for at in history],
        )
    ]
    return max(sides)


def _is_futile(plan: SequentialPlan, now: Snapshot) -> bool:
    """Whether the test set alone leaves it open, whatever more seeds say (non-binding: costs no alpha)."""
    if now.seed_variance >= SEEDS_SETTLED * now.test_variance:
        return False
    alpha = 1 - plan.level
    band = float(leg(alpha, now.test_variance, now.test_df, FUTILITY_SPLIT))
    margin = plan.equivalence
    return abs(now.difference) <= band and (margin is None or abs(now.difference) + band >= margin)


def _check_history(plan: SequentialPlan, history: Sequence[Snapshot], looks_done: int) -> None:
    seen = [at.n_seeds for at in history]
    rising = all(a < b for a, b in pairwise(seen))
    # Looks that showed nothing new leave the later ones where they were.
    latest = plan.looks[looks_done - len(seen) : looks_done]
    within = len(seen) == len(latest) and all(
        2 <= n <= planned for n, planned in zip(seen, latest, strict=True)
    )
    if not seen or not rising or not within:
        raise EvidenceError(
            f"looks were declared at {_listed(plan.looks)} seeds, but came at {_listed(seen)}; "
            "look only when a declared number of seeds is complete."
        )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
