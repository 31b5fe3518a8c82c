"""More than two contenders: which differences hold when many are looked at, and which may still be best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_lowercase

import numpy as np
from jaxtyping import Bool

from tiebreak.errors import EvidenceError, did_you_mean
from tiebreak.evidence.compare.comparison import Comparison, Method, compare_predictions, interval_at


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two of several contenders. Decide by `p_adjusted`; the comparison's interval is for this pair alone."""

    a: str
    b: str
    comparison: Comparison
    p_adjusted: float  # Holm's, over all pairs looked at
    simultaneous_low: float  # all pairs at once lie in these with the stated level (Bonferroni)
    simultaneous_high: float
    decided: bool  # p_adjusted <= 1 - level; never with one seed


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One contender's place in the ranking. Two that share a letter could not be told apart."""

    name: str
    accuracy: float
    letters: str  # empty where only differences from a baseline were looked at
    may_be_best: bool


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All contenders, best first, and the pairs looked at."""

    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]
    baseline: str | None
    level: float


def compare_all(
    correct: Mapping[str, Bool[np.ndarray, "seed example"]],
    *,
    baseline: str | None = None,
    level: float = 0.95,
    groups: np.ndarray | None = None,
    fixed_test_set: bool = False,
    seeds: Sequence[int] | None = None,
) -> Ranking:
    """Compare every pair, or each contender (a) with a declared baseline (b).

    `seeds`: the numbers of the seeds, for naming a collapsed one (default 0, 1, ...).

    Holm's procedure bounds the chance of any wrong decision by 1 - level. The contenders that may be best
    are a statement of their own: they contain the truly best one with a probability of at least `level`,
    because only the K - 1 comparisons with it could throw it out (a union bound).

    Raises: EvidenceError with under two contenders, an unknown baseline, or as `compare_predictions`.
    """
    if len(correct) < 2:
        raise EvidenceError(f"a comparison needs at least 2 contenders, got {len(correct)}.")
    if baseline is not None and baseline not in correct:
        raise EvidenceError(f'the baseline "{baseline}" is no contender. {did_you_mean(baseline, correct)}')

    def versus(a: str, b: str) -> Comparison:
        return compare_predictions(
            correct[a], correct[b], level=level, groups=groups, fixed_test_set=fixed_test_set, seeds=seeds
        )

    return rank(
        {name: float(rows.mean()) for name, rows in correct.items()}, versus, baseline=baseline, level=level
    )


def rank(
    accuracy: Mapping[str, float],
    versus: Callable[[str, str], Comparison],
    *,
    baseline: str | None = None,
    level: float = 0.95,
    interval: Callable[[Comparison, float], tuple[float, float]] = interval_at,
) -> Ranking:
    """The same from accuracies and a function that compares two by name; `interval` widens one for many."""
    names = sorted(accuracy, key=lambda name: -accuracy[name])
    every = {(a, b): versus(a, b) for a, b in combinations(names, 2)}
    family = every
    if baseline is not None:
        family = {(name, baseline): versus(name, baseline) for name in names if name != baseline}
    pairs = _adjust(family, level, interval)
    best = may_be_best(every, names, level)
    different = {frozenset((pair.a, pair.b)) for pair in pairs if pair.decided}
    letters = compact_letters(names, different) if baseline is None else dict.fromkeys(names, "")
    standings = tuple(
        Standing(name=name, accuracy=accuracy[name], letters=letters[name], may_be_best=name in best)
        for name in names
    )
    return Ranking(standings=standings, pairs=pairs, baseline=baseline, level=level)


def holm(p_values: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """Holm's (1979) adjusted p-values, valid under any dependence between the tests."""
    adjusted, running = {}, 0.0
    for rank, pair in enumerate(sorted(p_values, key=lambda pair: p_values[pair])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[pair]))
        adjusted[pair] = running
    return adjusted


def may_be_best(
    comparisons: Mapping[tuple[str, str], Comparison], names: list[str], level: float = 0.95
) -> frozenset[str]:
    """Those that no other beats at alpha / (K - 1), one-sided; `comparisons` holds every pair once."""
    limit = (1 - level) / (len(names) - 1)
    beaten = {
        b if comparison.difference > 0 else a
        for (a, b), comparison in comparisons.items()
        if comparison.method is not Method.ONE_SEED and comparison.p_value / 2 <= limit
    }
    return frozenset(names) - beaten


def compact_letters(names: list[str], different: set[frozenset[str]]) -> dict[str, str]:
    """Letters such that two names share one exactly if they are not known to differ.

    `names` are in the order of the ranking, so that the best gets an "a". Piepho 2004, JCGS 13:456.
    """
    columns = [frozenset(names)]
    for pair in sorted(different, key=sorted):
        split: list[frozenset[str]] = []
        for column in columns:
            split += [column - {name} for name in sorted(pair)] if pair <= column else [column]
        # A column inside another one says nothing new.
        columns = [
            c
            for i, c in enumerate(split)
            if not any(c < o or (c == o and j < i) for j, o in enumerate(split))
        ]
    columns.sort(key=lambda column: sorted(names.index(name) for name in column))
    return {name: "".join(_letter(i) for i, column in enumerate(columns) if name in column) for name in names}


def _letter(index: int) -> str:
    # After "z" comes "a1": a ranking that long is still told apart.
    return ascii_lowercase[index % 26] + (str(index // 26) if index >= 26 else "")


def _adjust(
    family: Mapping[tuple[str, str], Comparison],
    level: float,
    interval: Callable[[Comparison, float], tuple[float, float]],
) -> tuple[Pair, ...]:
    adjusted = holm({pair: comparison.p_value for pair, comparison in family.items()})
    joint = 1 - (1 - level) / len(family)
    pairs = []
    for (a, b), comparison in family.items():
        low, high = interval(comparison, joint)
        pairs.append(
            Pair(
                a=a,
                b=b,
                comparison=comparison,
                p_adjusted=adjusted[a, b],
                simultaneous_low=low,
                simultaneous_high=high,
                decided=comparison.method is not Method.ONE_SEED and adjusted[a, b] <= 1 - level,
            )
        )
    return tuple(pairs)
