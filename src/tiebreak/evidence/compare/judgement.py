"""What a study's runs entitle one to say: every pair of contenders compared, judged and put into words."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from tiebreak.evidence.compare.comparison import Comparison
from tiebreak.evidence.compare.designs import has_own_design, rank_by_design
from tiebreak.evidence.compare.notes import all_notes
from tiebreak.evidence.compare.scope import scope, time_taken
from tiebreak.evidence.compare.sentence import sentence
from tiebreak.evidence.compare.simultaneous import Ranking, compare_all, holm
from tiebreak.evidence.compare.until_decided import LookState, sequential_verdict, take_looks
from tiebreak.evidence.compare.verdict import Verdict, equivalence_p, judge, superiority_p
from tiebreak.results.results import Measure, Results

ABOUT_ONE_SEARCH = (
    " This is about these configurations, not about the contenders: another search may find others."
)
MANY_SEEDS = 10  # from which on a correlation over seeds says something


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One pair of contenders: `a` has the higher mean accuracy on the test images, or `b` is the baseline."""

    a: str
    b: str
    verdict: Verdict
    sentence: str
    scope: str | None = None  # what it holds for: the recipe, that training ends
    time_taken: str | None = None  # whose training took longer

    @property
    def beside(self) -> str | None:
        """Both in one sentence."""
        told = "; ".join(part for part in (self.scope, self.time_taken) if part)
        return f"This {told}." if self.scope else f"{told}." if told else None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """All that a study shows about which contender is better."""

    ranking: Ranking | None  # None where there are no two to be compared, or before the first look
    judgements: tuple[Judgement, ...]  # one a pair
    looks: LookState | None  # of a study that trains seeds until it is decided
    notes: tuple[str, ...]  # what a reader must know beside the sentences


def judge_study(results: Results) -> Judged:
    """Judge every pair by the rule that the plan declares, over the seeds that both have finished."""
    rule, looks = results.rule, None
    unit, scale = ("of score", 1.0) if results.measure is Measure.SCORES else ("points", 100.0)
    if results.rule.looks is None:
        ranking = rank_contenders(results)
        verdicts = judge_pairs(ranking, rule.equivalence, rule.superiority) if ranking else {}
    else:
        looks, ranking = take_looks(results)
        verdicts = {
            (pair.a, pair.b): sequential_verdict(
                pair.comparison, looks.decisions[pair.a, pair.b], rule, len(looks.decisions)
            )
            for pair in (ranking.pairs if ranking else ())
        }
    return Judged(
        ranking=ranking,
        judgements=tuple(
            Judgement(
                a=a,
                b=b,
                verdict=verdict,
                sentence=sentence(verdict, _named(results, a), _named(results, b), unit=unit, scale=scale)
                + (ABOUT_ONE_SEARCH if rule.once else ""),
                scope=scope(results, a, b),
                time_taken=time_taken(results, a, b),
            )
            for (a, b), verdict in verdicts.items()
        ),
        looks=looks,
        notes=all_notes(results, ranking, looks),
    )


def _named(results: Results, label: str) -> str:
    """A contender in a sentence; where one search chose its recipe, with what that chose."""
    tuned = next((run.tuned for run in results.of(label).runs.values() if run.tuned), None)
    if tuned is None or not results.rule.once:
        return label
    return f"{label} at {', '.join(f'{name} {value:g}' for name, value in tuned.values.items())}"


def rank_contenders(results: Results) -> Ranking | None:
    """All pairs, or all against the baseline; None where there are no two, or the baseline has no run."""
    if not results.comparable:
        return None
    if has_own_design(results):
        return rank_by_design(results)
    correct = {label: results.correct(label) for label in results.labels}
    return compare_all(correct, baseline=results.rule.baseline, level=results.rule.level)


def judge_pairs(
    ranking: Ranking, equivalence: float | None = None, superiority: float | None = None
) -> dict[tuple[str, str], Verdict]:
    """A verdict for every pair; differences, equivalences and superiorities are adjusted each by Holm."""

    def adjusted(
        p: Callable[[Comparison, float], float], margin: float | None
    ) -> dict[tuple[str, str], float]:
        if margin is None:
            return {}
        return holm({(pair.a, pair.b): p(pair.comparison, margin) for pair in ranking.pairs})

    alike, more = adjusted(equivalence_p, equivalence), adjusted(superiority_p, superiority)
    return {
        (pair.a, pair.b): judge(
            pair.comparison,
            equivalence=equivalence,
            p_adjusted=pair.p_adjusted,
            n_comparisons=len(ranking.pairs),
            p_equivalence_adjusted=alike.get((pair.a, pair.b)),
            superiority=superiority,
            p_superiority_adjusted=more.get((pair.a, pair.b)),
        )
        for pair in ranking.pairs
    }


def uncertainty(comparison: Comparison) -> str | None:
    """Where a difference's uncertainty comes from and whether pairing helped; None if unknown."""
    if comparison.data_variance is not None:
        return _three_parts(comparison)
    if comparison.seed_share is None:
        return None
    low, high = comparison.seed_share
    text = f"Uncertainty: {low:.0%} to {high:.0%} from the seeds, the rest from the choice of test images"
    if comparison.pair_correlation is None or comparison.n_seeds < MANY_SEEDS:
        return f"{text}."
    return f"{text}; pairing by seed: correlation {comparison.pair_correlation:.2f}."


def _three_parts(comparison: Comparison) -> str:
    parts = {
        "the seeds": comparison.seed_variance,
        "training images": comparison.data_variance,
        "test images": comparison.test_variance,
    }
    told = ", ".join(f"{100 * math.sqrt(value or 0.0):.2g} from {name}" for name, value in parts.items())
    return f"Standard error in points: {told}."
