"""Seeds until decided: which seeds to train next, and what the looks so far entitle one to say.

The looks are part of the plan and so are fixed before the first run. What is judged is always the latest
complete look, or the one at which the rule said stop, whatever else the folder holds: neither an
interruption nor a report in between can change it. Each pair is judged by the seeds that both have finished.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tiebreak.evidence.compare.comparison import Comparison
from tiebreak.evidence.compare.pair import compare_runs
from tiebreak.evidence.compare.power import detectable_difference
from tiebreak.evidence.compare.sequential import (
    Decision,
    Reason,
    SequentialPlan,
    Snapshot,
    all_stopped,
    look,
    look_all,
    parts_of,
    snapshot,
)
from tiebreak.evidence.compare.simultaneous import RANKABLE, Ranking, rank
from tiebreak.evidence.compare.verdict import Need, NextStep, Outcome, Verdict, next_step
from tiebreak.results.results import Results, Rule

Pair = tuple[str, str]
Seeds = tuple[int, ...]
Correct = dict[str, dict[int, np.ndarray]]  # contender -> seed -> right or wrong on each test image

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
    seeds: tuple[int, ...]  # judged at the latest look: those that two contenders or more have finished
    decisions: dict[Pair, Decision]  # of the pairs that have finished at least two seeds together
    stopped: bool  # by the rule, or because that was the last look

    @property
    def next_look(self) -> int | None:
        """Seeds in all at the next look."""
        return None if self.stopped else self.looks[self.looks_done]


def sequential_plan(rule: Rule) -> SequentialPlan:
    """The rule of a study that trains seeds until it is decided."""
    return SequentialPlan(looks=rule.looks or (), level=rule.level, equivalence=rule.equivalence)


def planned_seeds(rule: Rule, looks_done: int) -> tuple[Seeds, ...]:
    """The seeds planned up to each look so far."""
    return tuple(rule.seeds[:count] for count in (rule.looks or ())[:looks_done])


def take_looks(results: Results) -> tuple[LookState, Ranking | None]:
    """Take all complete looks of a study in order, up to the one at which the rule says stop.

    The ranking's intervals and p-values allow for all looks; it is None before a pair of contenders has
    finished two seeds together.
    """
    rule, labels = results.rule, results.labels
    correct = {label: results.correct(label) for label in labels}
    state = LookState(looks=rule.looks or (), looks_done=0, seeds=(), decisions={}, stopped=False)
    ranking = None
    for done, count in enumerate(state.looks, start=1):
        planned = rule.seeds[:count]
        if not all(map(results.ended, planned)):
            break
        ranking, decisions = _look(rule, correct, done) if results.comparable else (None, {})
        pairs = len(labels) - 1 if rule.baseline else len(labels) * (len(labels) - 1) // 2
        settled = len(decisions) == pairs and all_stopped(decisions)
        stopped = settled or not results.comparable or done == len(state.looks)
        shared = tuple(seed for seed in planned if sum(seed in correct[label] for label in labels) > 1)
        state = replace(state, looks_done=done, seeds=shared, decisions=decisions, stopped=stopped)
        if stopped:
            break
    return state, ranking


def shared_seeds(looks: Iterable[Seeds], runs: Sequence[Container[int]]) -> list[Seeds]:
    """The seeds that all of some runs share at each look, where it showed anything new."""
    history: list[Seeds] = []
    for planned in looks:
        shared = tuple(seed for seed in planned if all(seed in one for one in runs))
        if len(shared) > max(1, len(history[-1]) if history else 0):
            history.append(shared)
    return history


def _look(rule: Rule, correct: Correct, looks_done: int) -> tuple[Ranking | None, dict[Pair, Decision]]:
    """The ranking and each pair's decision at one look."""
    plan = sequential_plan(rule)
    planned = planned_seeds(rule, looks_done)
    snapshots: dict[Pair, list[Snapshot]] = {}

    def versus(a: str, b: str) -> Comparison | None:
        history = shared_seeds(planned, (correct[a], correct[b]))
        if not history:
            return None
        found = [
            compare_runs(
                *({seed: correct[label][seed] for seed in seeds} for label in (a, b)), level=plan.level
            )
            for seeds in history
        ]
        snapshots[a, b] = [snapshot(comparison) for comparison in found]
        return at_looks(plan, found[-1], look(plan, snapshots[a, b], looks_done))

    judged = {
        label: [row for seed, row in runs.items() if seed in planned[-1]] for label, runs in correct.items()
    }
    accuracy = {label: float(np.mean([row.mean() for row in rows])) for label, rows in judged.items() if rows}
    few = {label for label, rows in judged.items() if len(rows) < RANKABLE}
    ranking = rank(accuracy, versus, few, baseline=rule.baseline, level=plan.level)
    family = {(pair.a, pair.b): snapshots[pair.a, pair.b] for pair in ranking.pairs}
    return (ranking if family else None), look_all(plan, family, looks_done)


def at_looks(plan: SequentialPlan, latest: Comparison, decision: Decision) -> Comparison:
    """The comparison of the latest look, with the interval that allows for all looks."""
    return replace(
        latest,
        difference=decision.difference,
        ci_low=decision.ci_low,
        ci_high=decision.ci_high,
        p_value=decision.p_value,
        parts=parts_of(plan, snapshot(latest)),
    )


def sequential_verdict(comparison: Comparison, decision: Decision, rule: Rule, n_comparisons: int) -> Verdict:
    """The verdict on a pair at the latest look; `comparison` has the interval that allows for all looks.

    One interval serves for both claims, a difference and equivalence.
    """
    margin, least = rule.equivalence, rule.superiority
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
        detectable=detectable_difference(comparison, n_comparisons, sequential_plan(rule)),
        superiority=least,
        superior=differs and least is not None and nearest >= least,
    )
