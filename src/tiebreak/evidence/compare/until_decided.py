"""Seeds until decided: which seeds to train next, and what the looks so far entitle one to say.

The looks are part of the plan and so are fixed before the first run. What is judged is always the latest
complete look, or the one at which the rule said stop, whatever else the folder holds: neither an
interruption nor a report in between can change it. A seed that failed for one contender is no pair and is
left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tiebreak.evidence.compare.comparison import Comparison, compare_predictions
from tiebreak.evidence.compare.sequential import (
    Decision,
    Reason,
    SequentialPlan,
    Snapshot,
    all_stopped,
    look,
    look_all,
    repeated_interval,
    snapshot,
)
from tiebreak.evidence.compare.simultaneous import Ranking, rank
from tiebreak.evidence.compare.verdict import Need, NextStep, Outcome, Verdict, next_step
from tiebreak.results.results import Results, Rule

Pair = tuple[str, str]
Correct = Mapping[str, Mapping[int, np.ndarray]]  # contender -> seed -> right or wrong on each test image

OUTCOMES = {
    Reason.A_BETTER: Outcome.A_BETTER,
    Reason.B_BETTER: Outcome.B_BETTER,
    Reason.EQUIVALENT: Outcome.EQUIVALENT,
}


@dataclass(frozen=True, kw_only=True)
class LookState:
    """How far a study that trains seeds until it is decided has come."""

    looks: tuple[int, ...]  # as declared: seeds in all
    looks_done: int
    seeds: tuple[int, ...]  # judged at the latest look: those that every contender has finished
    decisions: dict[Pair, Decision]  # empty before two seeds are finished by all
    stopped: bool  # by the rule, or because that was the last look

    @property
    def next_look(self) -> int | None:
        """Seeds in all at the next look."""
        return None if self.stopped else self.looks[self.looks_done]


def sequential_plan(rule: Rule) -> SequentialPlan:
    """The rule of a study that trains seeds until it is decided."""
    return SequentialPlan(looks=rule.looks or (), level=rule.level, equivalence=rule.equivalence)


def take_looks(results: Results) -> tuple[LookState, Ranking | None]:
    """Take all complete looks of a study in order, up to the one at which the rule says stop.

    The ranking's intervals and p-values allow for all looks; it is None while fewer than two seeds are
    finished by every contender.
    """
    rule, labels = results.rule, results.labels
    looks = rule.looks or ()
    correct = {label: results.correct(label) for label in labels}
    state = LookState(looks=looks, looks_done=0, seeds=(), decisions={}, stopped=False)
    ranking = None
    history: list[tuple[int, ...]] = []
    for done, count in enumerate(looks, start=1):
        planned = rule.seeds[:count]
        if not all(contender.ended(seed) for contender in results.contenders for seed in planned):
            break
        usable = tuple(seed for seed in planned if all(seed in correct[label] for label in labels))
        if len(usable) >= 2 and (not history or len(usable) > len(history[-1])):
            history.append(usable)
        decisions: dict[Pair, Decision] = {}
        if history:
            ranking, decisions = _look(rule, correct, history, done)
        stopped = done == len(looks) or (bool(decisions) and all_stopped(decisions))
        state = LookState(looks=looks, looks_done=done, seeds=usable, decisions=decisions, stopped=stopped)
        if stopped:
            break
    return state, ranking


def _look(
    rule: Rule, correct: Correct, history: list[tuple[int, ...]], looks_done: int
) -> tuple[Ranking, dict[Pair, Decision]]:
    """The ranking and each pair's decision at the latest of some looks, given by their seeds."""
    plan = sequential_plan(rule)
    snapshots: dict[Pair, list[Snapshot]] = {}

    def versus(a: str, b: str) -> Comparison:
        found = [_compare(correct, a, b, seeds, plan.level) for seeds in history]
        snapshots[a, b] = [snapshot(comparison) for comparison in found]
        alone = look(plan, snapshots[a, b], looks_done)
        return replace(found[-1], ci_low=alone.ci_low, ci_high=alone.ci_high, p_value=alone.p_value)

    def interval(comparison: Comparison, level: float) -> tuple[float, float]:
        return repeated_interval(plan, snapshot(comparison), level)

    latest = history[-1]
    accuracy = {
        label: float(np.mean([rows[seed].mean() for seed in latest])) for label, rows in correct.items()
    }
    ranking = rank(accuracy, versus, baseline=rule.baseline, level=plan.level, interval=interval)
    family = {(pair.a, pair.b): snapshots[pair.a, pair.b] for pair in ranking.pairs}
    return ranking, look_all(plan, family, looks_done)


def _compare(correct: Correct, a: str, b: str, seeds: tuple[int, ...], level: float) -> Comparison:
    one, other = (np.stack([correct[label][seed] for seed in seeds]) for label in (a, b))
    return compare_predictions(one, other, level=level, seeds=seeds)


def sequential_verdict(
    comparison: Comparison, decision: Decision, margin: float | None, n_comparisons: int
) -> Verdict:
    """The verdict on a pair at the latest look; `comparison` has the interval that allows for all looks.

    One interval serves for both claims, a difference and equivalence.
    """
    outcome = OUTCOMES.get(decision.reason, Outcome.UNDECIDED)
    step = NextStep(need=Need.NOTHING)
    if decision.reason is Reason.CONTINUE:
        step = NextStep(need=Need.NEXT_LOOK, total=decision.next_look)
    elif outcome is Outcome.UNDECIDED:
        futile = decision.reason is Reason.FUTILE
        step = next_step(comparison, margin, n_comparisons, seeds_may_help=not futile)
    differs = outcome in (Outcome.A_BETTER, Outcome.B_BETTER)
    inside = decision.p_equivalence is not None and decision.p_equivalence <= 1 - decision.level
    nearest = max(comparison.ci_low, -comparison.ci_high)
    return Verdict(
        outcome=outcome,
        comparison=comparison,
        margin=margin,
        negligible=differs and inside,
        relevant=differs and margin is not None and nearest >= margin,
        p_value=decision.p_value,
        n_comparisons=n_comparisons,
        equivalence_low=None if margin is None else comparison.ci_low,
        equivalence_high=None if margin is None else comparison.ci_high,
        equivalence_level=None if margin is None else decision.level,
        p_equivalence=decision.p_equivalence,
        next_step=step,
    )
