"""One verdict over several data sets, beside a verdict for each.

Few data sets (up to six) are these very ones: a contender is "better on at least u of K" where the u-th
smallest of its one-sided p-values, times K - u + 1, is at most alpha / 2 (partial conjunction: Benjamini &
Heller 2008, Biometrics 64:1215; for classifiers Dror et al. 2017, TACL 5:471). Many are a sample of such data
sets: the signed-rank test and mean ranks with Nemenyi's critical difference (Demsar 2006, JMLR 7:1), and a t
interval for the mean lead.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Comparison, Method
from tiebreak.evidence.compare.interval import t_quantile
from tiebreak.evidence.compare.simultaneous import Ranking

FEW = 6  # data sets: below, a signed-rank test cannot reach 5%, and "a sample of data sets" says little


@dataclass(frozen=True, kw_only=True)
class OverDatasets:
    """Two contenders over several data sets; `a` has the higher mean."""

    a: str
    b: str
    leads: dict[str, float]  # a - b by data set
    better_on: int | None  # of few data sets: on at least so many a is better
    worse_on: int | None
    p_value: float | None  # of many: the signed-rank test's
    ci_low: float | None  # of many: of the mean lead over data sets of this kind
    ci_high: float | None
    level: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class MeanRanks:
    """Mean ranks over many data sets (1 is best), and the difference that tells two contenders apart."""

    ranks: dict[str, float]
    critical_difference: float


def judge_datasets(rankings: Mapping[str, Ranking]) -> tuple[OverDatasets, ...]:
    """Every pair of contenders over all data sets.

    Raises: EvidenceError with one data set, or if the data sets have not the same contenders.
    """
    if len(rankings) < 2:
        raise EvidenceError(f"a verdict over data sets needs at least 2, got {len(rankings)}.")
    labels = {name: {standing.name for standing in ranking.standings} for name, ranking in rankings.items()}
    every = set.union(*labels.values())
    for name, found in labels.items():
        if found != every:
            raise EvidenceError(
                f"data set {name} lacks {', '.join(sorted(every - found))}, so there is no verdict over all."
            )
    means = {
        label: float(np.mean([_accuracy(ranking, label) for ranking in rankings.values()]))
        for label in sorted(every)
    }
    ordered = sorted(means, key=lambda label: -means[label])
    level = next(iter(rankings.values())).level
    pairs = [pair for pair in combinations(ordered, 2) if _compared(rankings, *pair)]
    return tuple(_judge(a, b, rankings, level, len(pairs)) for a, b in pairs)


def mean_ranks(rankings: Mapping[str, Ranking], level: float = 0.95) -> MeanRanks:
    """Mean ranks of all contenders, ties shared, and Nemenyi's critical difference.

    Raises: EvidenceError with fewer than 3 contenders, for which a pair's own test says more.
    """
    from scipy.stats import rankdata, studentized_range

    labels = sorted(standing.name for standing in next(iter(rankings.values())).standings)
    k, n = len(labels), len(rankings)
    if k < 3:
        raise EvidenceError(f"a critical difference is for 3 contenders or more, got {k}.")
    table = np.array([[_accuracy(ranking, label) for label in labels] for ranking in rankings.values()])
    ranks = rankdata(-table, axis=1).mean(axis=0)
    quantile = float(studentized_range.ppf(level, k, np.inf)) / math.sqrt(2)
    return MeanRanks(
        ranks=dict(sorted(zip(labels, map(float, ranks), strict=True), key=lambda entry: entry[1])),
        critical_difference=quantile * math.sqrt(k * (k + 1) / (6 * n)),
    )


def at_least(p_values: Sequence[float], alpha: float) -> int:
    """On how many data sets at least the one-sided null hypothesis is false (0: on none that is shown)."""
    ordered, count = sorted(p_values), 0
    for u, p in enumerate(ordered, start=1):
        if (len(ordered) - u + 1) * p > alpha:
            break
        count = u
    return count


def _judge(a: str, b: str, rankings: Mapping[str, Ranking], level: float, n_pairs: int) -> OverDatasets:
    found = {name: _oriented(ranking, a, b) for name, ranking in rankings.items()}
    leads = {name: lead for name, (lead, _) in found.items()}
    alpha = (1 - level) / n_pairs  # each pair has its share
    if len(rankings) <= FEW:
        return _of_few(a, b, leads, [_one_sided(*entry) for entry in found.values()], alpha, level)
    return _of_many(a, b, leads, [comparison for _, comparison in found.values()], alpha, level)


def _of_few(
    a: str, b: str, leads: dict[str, float], p_values: list[float], alpha: float, level: float
) -> OverDatasets:
    k = len(leads)
    better, worse = at_least(p_values, alpha / 2), at_least([1 - p for p in p_values], alpha / 2)
    parts = []
    for winner, loser, count in ((a, b, better), (b, a, worse)):
        if count:
            on = f"all {k}" if count == k else f"at least {count} of {k}"
            parts.append(f"{winner} beats {loser} on {on} data sets")
    text = (
        "; ".join(parts)
        or f"undecided: neither {a} nor {b} is shown to be better on any of the {k} data sets"
    )
    seen = sum(lead > 0 for lead in leads.values())
    return OverDatasets(
        a=a,
        b=b,
        leads=leads,
        better_on=better,
        worse_on=worse,
        p_value=None,
        ci_low=None,
        ci_high=None,
        level=level,
        sentence=(
            f"{text} (partial conjunction at {100 * level:g}%; {a} leads on {seen} of {k}). "
            "This is about these data sets, not others."
        ),
    )


def _of_many(
    a: str, b: str, leads: dict[str, float], comparisons: list[Comparison], alpha: float, level: float
) -> OverDatasets:
    from scipy.stats import wilcoxon

    values, k = np.array(list(leads.values())), len(leads)
    p = float(wilcoxon(values).pvalue) if values.any() else 1.0
    mean = float(values.mean())
    # The spread of the leads holds what seeds and images add, and is never taken as less than that alone.
    own = float(np.mean([(c.seed_variance or 0.0) + c.test_variance for c in comparisons]))
    reach = float(t_quantile(alpha / 2, k - 1)) * math.sqrt(max(float(values.var(ddof=1)), own) / k)
    facts = (
        f"(mean lead {100 * mean:.2f} points, {100 * (1 - alpha):.4g}% CI {100 * (mean - reach):.2f} to "
        f"{100 * (mean + reach):.2f}; signed-rank p = {p:.2g}; {k} data sets)"
    )
    winner, loser = (a, b) if mean > 0 else (b, a)
    text = (
        f"{winner} beats {loser} over data sets like these"
        if p <= alpha
        else f"undecided between {a} and {b}"
    )
    return OverDatasets(
        a=a,
        b=b,
        leads=leads,
        better_on=None,
        worse_on=None,
        p_value=p,
        ci_low=mean - reach,
        ci_high=mean + reach,
        level=level,
        sentence=f"{text} {facts}.",
    )


def _one_sided(lead: float, comparison: Comparison) -> float:
    """The p-value of "a is not better"; one seed shows nothing either way."""
    if comparison.method is Method.ONE_SEED:
        return 0.5
    half = comparison.p_value / 2
    return half if lead > 0 else 1 - half


def _compared(rankings: Mapping[str, Ranking], a: str, b: str) -> bool:
    return all({a, b} in ({pair.a, pair.b} for pair in ranking.pairs) for ranking in rankings.values())


def _oriented(ranking: Ranking, a: str, b: str) -> tuple[float, Comparison]:
    pair = next(pair for pair in ranking.pairs if {pair.a, pair.b} == {a, b})
    sign = 1 if pair.a == a else -1
    return sign * pair.comparison.difference, pair.comparison


def _accuracy(ranking: Ranking, label: str) -> float:
    return next(standing.accuracy for standing in ranking.standings if standing.name == label)
