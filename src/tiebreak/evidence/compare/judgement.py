"""What a study's runs entitle one to say: every pair of contenders compared, judged and put into words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Comparison
from tiebreak.evidence.compare.sentence import sentence
from tiebreak.evidence.compare.sequential import Reason
from tiebreak.evidence.compare.simultaneous import Ranking, compare_all, holm
from tiebreak.evidence.compare.until_decided import LookState, sequential_verdict, take_looks
from tiebreak.evidence.compare.verdict import Verdict, equivalence_p, judge
from tiebreak.results.results import Results


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One pair of contenders: `a` has the higher mean accuracy on the test images, or `b` is the baseline."""

    a: str
    b: str
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    """All that a study shows about which contender is better."""

    ranking: Ranking | None  # None for a single contender, or before the first look
    judgements: tuple[Judgement, ...]  # one a pair
    looks: LookState | None  # of a study that trains seeds until it is decided
    notes: tuple[str, ...]  # what a reader must know beside the sentences


def judge_study(results: Results) -> Judged:
    """Judge every pair by the rule that the plan declares.

    Raises: EvidenceError if no seed of a study of fixed size is finished for every contender; StudyError if
    a file is missing or damaged.
    """
    if results.rule.looks is None:
        ranking = rank_contenders(results)
        judgements = judge_pairs(ranking, results.rule.equivalence) if ranking else ()
        return Judged(ranking=ranking, judgements=judgements, looks=None, notes=_notes_of_fixed(results))
    looks, ranking = take_looks(results)
    verdicts = {}
    for pair in ranking.pairs if ranking else ():
        verdicts[pair.a, pair.b] = sequential_verdict(
            pair.comparison, looks.decisions[pair.a, pair.b], results.rule.equivalence, len(looks.decisions)
        )
    return Judged(
        ranking=ranking,
        judgements=_in_words(verdicts),
        looks=looks,
        notes=tuple(_notes_of_looks(looks, results)),
    )


def common_seeds(results: Results) -> tuple[int, ...]:
    """The seeds that every contender has finished, in the order of the plan.

    Raises: EvidenceError if there is none.
    """
    contenders = results.contenders
    common = tuple(seed for seed in results.rule.seeds if all(seed in c.runs for c in contenders))
    if not common:
        raise EvidenceError(
            f"{results.source}: no seed is finished for every contender, so nothing can be compared."
        )
    return common


def rank_contenders(results: Results) -> Ranking | None:
    """All pairs, or all against the baseline, over the seeds that every contender has finished.

    None for a single contender.

    Raises: EvidenceError if no seed is finished for all of them.
    """
    labels, rule = results.labels, results.rule
    if len(labels) < 2:
        return None
    common = common_seeds(results)
    correct = {label: results.correct(label) for label in labels}
    arrays = {label: np.stack([by_seed[seed] for seed in common]) for label, by_seed in correct.items()}
    return compare_all(arrays, baseline=rule.baseline, level=rule.level, seeds=common)


def judge_pairs(ranking: Ranking, equivalence: float | None = None) -> tuple[Judgement, ...]:
    """A verdict and its sentence for every pair; differences and equivalences are adjusted each by Holm."""
    alike: dict[tuple[str, str], float] = {}
    if equivalence is not None:
        alike = holm(
            {(pair.a, pair.b): equivalence_p(pair.comparison, equivalence) for pair in ranking.pairs}
        )
    verdicts = {
        (pair.a, pair.b): judge(
            pair.comparison,
            equivalence=equivalence,
            p_adjusted=pair.p_adjusted,
            n_comparisons=len(ranking.pairs),
            p_equivalence_adjusted=alike.get((pair.a, pair.b)),
        )
        for pair in ranking.pairs
    }
    return _in_words(verdicts)


def uncertainty(comparison: Comparison) -> str | None:
    """Where a difference's uncertainty comes from and whether pairing helped; None if unknown."""
    if comparison.seed_share is None or comparison.test_share is None:
        return None
    text = (
        f"Uncertainty: {comparison.seed_share:.0%} from the seeds, {comparison.test_share:.0%} from the "
        "choice of test images"
    )
    if comparison.pair_correlation is None:
        return f"{text}."
    return f"{text}; pairing by seed: correlation {comparison.pair_correlation:.2f}."


def _in_words(verdicts: dict[tuple[str, str], Verdict]) -> tuple[Judgement, ...]:
    return tuple(
        Judgement(a=a, b=b, verdict=verdict, sentence=sentence(verdict, a, b))
        for (a, b), verdict in verdicts.items()
    )


def _notes_of_fixed(results: Results) -> tuple[str, ...]:
    seeds = results.rule.seeds
    notes = []
    missing = [seed for seed in seeds if not all(contender.ended(seed) for contender in results.contenders)]
    if missing:
        notes.append(
            f"unfinished: {_seeds(missing)} still to be trained. The intervals are for the planned "
            f"{len(seeds)} seeds; looking early and then going on makes false findings likelier."
        )
    return (*results.notes, *notes, *_note_of_failures(results, seeds))


def _notes_of_looks(state: LookState, results: Results) -> list[str]:
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
    return [*notes, *_note_of_failures(results, results.rule.seeds[:at]), *results.notes]


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
        Reason.FUTILE: "more seeds could not decide what is left",
    }
    return " and ".join(dict.fromkeys(words[reason] for reason in reasons))


def _note_of_failures(results: Results, seeds: Sequence[int]) -> list[str]:
    failed = [seed for seed in seeds if any(seed in contender.failed for contender in results.contenders)]
    if not failed or len(results.contenders) < 2:
        return []
    return [f"{_seeds(failed)} left out of the comparisons, because a contender's run failed."]


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
