"""What a reader must know beside the verdicts: who is missing, what failed or is unfinished, who guesses."""

from collections.abc import Sequence
from itertools import combinations
from math import comb, sqrt

import numpy as np

from tiebreak.evidence.compare.sequential import Reason
from tiebreak.evidence.compare.simultaneous import RANKABLE, Ranking
from tiebreak.evidence.compare.until_decided import LookState
from tiebreak.results.results import Measure, Results

FEW = 3  # contenders; of more, only those are told whose failures, or their difference, say something
SPEAKS = 0.05  # a p-value that does


def all_notes(results: Results, ranking: Ranking | None, looks: LookState | None) -> tuple[str, ...]:
    """Everything, in the order in which it bears on the verdicts."""
    told = [f"{one.label} is not judged: {one.why_none.rstrip('.')}." for one in results.without_runs]
    if results.rule.baseline is not None and results.rule.baseline not in results.labels:
        told.append("nothing is compared, because the baseline has no run.")
    if looks is None:
        seeds = results.rule.seeds
        told += [*results.notes, *_unfinished(results)]
    else:
        seeds = results.rule.seeds[: looks.looks[looks.looks_done - 1] if looks.looks_done else 0]
        told += [*_of_looks(looks), *results.notes]
    return (*told, *_of_failures(results, seeds), *_of_pairs(results, ranking, seeds), *_of_chance(results))


def fisher_exact(failed_a: int, runs_a: int, failed_b: int, runs_b: int) -> float:
    """The two-sided p-value of Fisher's exact test for two counts of failures."""
    failed = failed_a + failed_b
    ways = [comb(runs_a, k) * comb(runs_b, failed - k) for k in range(failed + 1)]
    return sum(way for way in ways if way <= ways[failed_a]) / sum(ways)


def _unfinished(results: Results) -> list[str]:
    seeds = results.rule.seeds
    missing = [seed for seed in seeds if not results.ended(seed)]
    if not missing:
        return []
    return [
        f"unfinished: {_seeds(missing)} still to be trained. The intervals are for the planned "
        f"{len(seeds)} seeds; looking early and then going on makes false findings likelier."
    ]


def _of_looks(state: LookState) -> list[str]:
    declared = ", ".join(map(str, state.looks))
    if not state.looks_done:
        first = state.looks[0]
        return [f"unfinished: nothing is judged before the first look, at {first} seeds of each contender."]
    at = state.looks[state.looks_done - 1]
    if not state.stopped:
        text = f"unfinished: this is the look at {at} seeds, the next is at {state.next_look}"
    else:
        text = f"stopped at the look at {at} seeds: {_why_stopped(state)}"
    notes = [f"{text}. The intervals allow for all looks declared ({declared} seeds)."]
    reasons = {decision.reason for decision in state.decisions.values()}
    if state.stopped and reasons & {Reason.A_BETTER, Reason.B_BETTER} and len(state.looks) > 1:
        notes.append("a difference at which a study stops early tends to be too large; the interval holds.")
    if state.stopped and Reason.LAST_LOOK in reasons:
        notes.append(
            "to go on, plan a new study with more --max-seeds: adding seeds now would void the rule."
        )
    return notes


def _why_stopped(state: LookState) -> str:
    reasons = [decision.reason for decision in state.decisions.values()]
    if not reasons:
        return "too many runs failed for a comparison"
    if Reason.LAST_LOOK in reasons:
        return "it was the last one"
    words = {
        Reason.A_BETTER: "a difference is shown",
        Reason.B_BETTER: "a difference is shown",
        Reason.EQUIVALENT: "equivalence is shown",
        Reason.FUTILE: "more seeds are unlikely to decide what is left",
    }
    return " and ".join(dict.fromkeys(words[reason] for reason in reasons))


def _of_failures(results: Results, seeds: Sequence[int]) -> list[str]:
    """Failed runs have no accuracy, so what is said of accuracies leaves them out: they are counted here."""
    everyone = (*results.contenders, *results.without_runs)
    ended = {one.label: sum(one.ended(seed) for seed in seeds) for one in everyone}
    failed = {one.label: sum(seed in one.failed for seed in seeds) for one in everyone}
    if not any(failed.values()):
        return []
    many = len(ended) > FEW
    counts = [f"{failed[one]} of {ended[one]} runs of {one}" for one in ended if failed[one] or not many]
    if len(counts) < len(ended):
        counts.append("none of the others'")
    p_values = {
        f"{a} against {b}": fisher_exact(failed[a], ended[a], failed[b], ended[b])
        for a, b in combinations(ended, 2)
        if failed[a] * ended[b] != failed[b] * ended[a]
    }
    tests = [f"{pair} p = {p:.2g}" for pair, p in p_values.items() if not many or p < SPEAKS]
    exact = f" (Fisher's exact test: {'; '.join(tests)})" if tests else ""
    given = (
        "; the verdicts hold given that training ends"
        if any(one.failed for one in results.contenders)
        else ""
    )
    return [f"failed: {', '.join(counts)}{exact}{given}."]


def _of_pairs(results: Results, ranking: Ranking | None, seeds: Sequence[int]) -> list[str]:
    told, labels = [], results.labels
    have = {label: {seed for seed in seeds if seed in results.of(label).runs} for label in labels}
    apart = [
        f"{a} and {b}" for a, b in combinations(labels, 2) if have[a] and have[b] and not have[a] & have[b]
    ]
    if apart:
        told.append(f"no seed in common, so not compared: {', '.join(apart)}.")
    if len({frozenset(each) for each in have.values()}) > 1:
        told.append(
            "each pair is compared on the seeds that both have finished; an accuracy in the table is over "
            "all seeds of its contender."
        )
    if ranking is not None and ranking.unranked and len(labels) > 2:
        names = ", ".join(ranking.unranked)
        told.append(f"too few seeds to rank {names}: a place in the ranking takes at least {RANKABLE}.")
    return told


def _of_chance(results: Results) -> list[str]:
    """Who does no better than a constant answer, by two standard errors of it."""
    if results.measure is not Measure.CLASSES or any(one.own is not None for one in results.contenders):
        return []
    truth, names = results.examples.truth, results.examples.class_names
    counts = np.bincount(truth, minlength=len(names))
    share, images = float(counts.max() / len(truth)), len(truth)
    constant = f"always answering {names[int(counts.argmax())]} is right on {share:.1%} of the test images"
    limit = share + 2 * sqrt(share * (1 - share) / images)
    accuracy = {
        label: float(np.mean([*map(np.mean, results.correct(label).values())])) for label in results.labels
    }
    near = [f"{label} ({value:.1%})" for label, value in accuracy.items() if value <= limit]
    return [f"near chance: {', '.join(near)}; {constant}."] if near else []


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
