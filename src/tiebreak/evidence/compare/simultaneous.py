"""More than two contenders: which differences hold when many are looked at, and which may still be best."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from string import ascii_lowercase
from typing import TypeVar

import numpy as np
from jaxtyping import Bool

from tiebreak.errors import EvidenceError, did_you_mean
from tiebreak.evidence.compare.comparison import Comparison, Method
from tiebreak.evidence.compare.pair import compare_runs

RANKABLE = 3  # seeds; two show so little of the luck of the seed that a place by them says nothing


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two of several contenders. Decide by `p_adjusted`; the comparison's interval is for this pair alone."""

    a: str
    b: str
    comparison: Comparison
    p_adjusted: float  # Holm's, over all pairs looked at
    decided: bool  # p_adjusted <= 1 - level; never with one seed


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One contender's place in the ranking. Two that share a letter could not be told apart.

    The place is by the mean over all seeds that the contender has; letters and `may_be_best` follow from the
    pairs alone, each over the seeds that both have.
    """

    name: str
    accuracy: float
    letters: str  # empty where only differences from a baseline were looked at, or it cannot be ranked
    may_be_best: bool | None  # None: too few seeds to tell


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All contenders, best first, and the pairs looked at. Two without a common seed are no pair."""

    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]
    baseline: str | None
    level: float

    @property
    def unranked(self) -> tuple[str, ...]:
        """Those with too few seeds to be ranked."""
        return tuple(standing.name for standing in self.standings if standing.may_be_best is None)


def compare_all(
    correct: Mapping[str, Mapping[int, Bool[np.ndarray, " example"]]],
    *,
    baseline: str | None = None,
    level: float = 0.95,
) -> Ranking:
    """Compare every pair, or each contender (a) with a declared baseline (b), over the seeds that both have.

    `correct`: contender -> seed -> which test images were right.

    Holm's procedure bounds the chance of any wrong decision by 1 - level. The contenders that may be best
    are a statement of their own: they contain the truly best one with a probability of at least `level`,
    because only the K - 1 comparisons with it could throw it out (a union bound).

    Raises: EvidenceError with under two contenders, an unknown baseline, or as `compare_runs`.
    """
    if len(correct) < 2:
        raise EvidenceError(f"a comparison needs at least 2 contenders, got {len(correct)}.")
    if baseline is not None and baseline not in correct:
        raise EvidenceError(f'the baseline "{baseline}" is no contender. {did_you_mean(baseline, correct)}')

    def versus(a: str, b: str) -> Comparison | None:
        if not correct[a].keys() & correct[b].keys():
            return None
        return compare_runs(correct[a], correct[b], level=level)

    accuracy = {name: float(np.mean([row.mean() for row in runs.values()])) for name, runs in correct.items()}
    few = {name for name, runs in correct.items() if len(runs) < RANKABLE}
    return rank(accuracy, versus, few, baseline=baseline, level=level)


def rank(
    accuracy: Mapping[str, float],
    versus: Callable[[str, str], Comparison | None],
    few: Collection[str] = (),
    *,
    baseline: str | None = None,
    level: float = 0.95,
) -> Ranking:
    """The same from accuracies and a function that compares two by name; `few`: whose seeds are too few."""
    names = sorted(accuracy, key=lambda name: -accuracy[name])
    every = _compared(combinations(names, 2), versus)
    # On the seeds that both have, the one with the lower mean of its own may lead.
    behind = [(b, a) for (a, b), found in every.items() if found.difference < 0]
    every = {(a, b): found for (a, b), found in every.items() if (b, a) not in behind}
    family = every = every | _compared(behind, versus)
    if baseline is not None:
        family = _compared(((name, baseline) for name in names if name != baseline), versus)
    adjusted = holm({pair: comparison.p_value for pair, comparison in family.items()})
    pairs = tuple(
        Pair(
            a=a,
            b=b,
            comparison=comparison,
            p_adjusted=adjusted[a, b],
            decided=comparison.method is not Method.ONE_SEED and adjusted[a, b] <= 1 - level,
        )
        for (a, b), comparison in family.items()
    )
    ranked = [name for name in names if name not in few]
    best = may_be_best(every, ranked, level)
    different = {frozenset((pair.a, pair.b)) for pair in pairs if pair.decided}
    letters = compact_letters(ranked, different) if baseline is None else {}
    standings = tuple(
        Standing(
            name=name,
            accuracy=accuracy[name],
            letters=letters.get(name, ""),
            may_be_best=None if name in few else name in best,
        )
        for name in names
    )
    return Ranking(standings=standings, pairs=pairs, baseline=baseline, level=level)


def _compared(
    pairs: Iterable[tuple[str, str]], versus: Callable[[str, str], Comparison | None]
) -> dict[tuple[str, str], Comparison]:
    found = {pair: versus(*pair) for pair in pairs}
    return {pair: comparison for pair, comparison in found.items() if comparison is not None}


Name = TypeVar("Name", bound=Hashable)


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Holm's (1979) adjusted p-values, valid under any dependence between the tests."""
    adjusted, running = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = running
    return adjusted


def may_be_best(
    comparisons: Mapping[tuple[str, str], Comparison], names: list[str], level: float = 0.95
) -> frozenset[str]:
    """Those of `names` that no other of them beats at alpha / (K - 1), one-sided."""
    limit = (1 - level) / max(len(names) - 1, 1)
    beaten = {
        b if comparison.difference > 0 else a
        for (a, b), comparison in comparisons.items()
        if a in names and b in names
        if comparison.method is not Method.ONE_SEED and comparison.p_value / 2 <= limit
    }
    return frozenset(names) - beaten


def compact_letters(names: list[str], different: set[frozenset[str]]) -> dict[str, str]:
    """Letters such that two names share one exactly if they are not known to differ.

    `names` are in the order of the ranking, so that the best gets an "a". Piepho 2004, JCGS 13:456.
    """
    columns = [frozenset(names)] if names else []
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
