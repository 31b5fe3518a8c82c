"""What a study shows, as every view tells it, and what many comparisons come to in one sentence."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tiebreak.evidence.compare.also import AlsoJudged
from tiebreak.evidence.compare.judgement import Judgement
from tiebreak.evidence.compare.simultaneous import Ranking
from tiebreak.evidence.compare.verdict import Outcome
from tiebreak.evidence.describe.quality import ContenderSummary
from tiebreak.evidence.describe.tuning import Searches, compare_curves, searches_of
from tiebreak.report.palette import contender_colours
from tiebreak.report.text.explained import Explained
from tiebreak.report.text.tables import duration
from tiebreak.results.results import Results

FEW = 3  # pairs, and names, that are told one by one
ROWS_OF_ALL, ROWS_OF_ONE = 12, 40  # pairs that one chart shows


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that terminal, page and JSON say of a study."""

    results: Results
    summaries: tuple[ContenderSummary, ...]  # of those that have a finished run
    ranking: Ranking | None  # None for a single contender, or before the first look
    judgements: tuple[Judgement, ...]  # one a pair
    notes: tuple[str, ...]  # what must be known of data, runs and verdicts
    also: tuple[AlsoJudged, ...] = ()  # the same models on further test parts
    explained: Explained | None  # its contenders were trained to answer questions, not against each other

    @property
    def colours(self) -> dict[str, str]:
        """By label, those without a run last."""
        silent = (contender.label for contender in self.results.without_runs)
        return contender_colours([*self.results.labels, *silent])

    @property
    def is_ranked(self) -> bool:
        """Whether there are more than two contenders to be put in order."""
        return self.explained is None and self.ranking is not None and len(self.ranking.standings) > 2

    @cached_property
    def searches(self) -> tuple[Searches, ...]:
        """What tuning found, of each contender that was tuned."""
        found = (searches_of(self.results, label) for label in self.results.labels)
        return tuple(each for each in found if each is not None)

    @property
    def told(self) -> tuple[Judgement, ...]:
        """The pairs that are told one by one: all if they are few, else that of the two on top."""
        return self.judgements if len(self.judgements) <= FEW else self.judgements[:1]


def summary_sentence(ranking: Ranking, judgements: Sequence[Judgement]) -> str:
    """Who may be best, or how many beat the baseline, and how many pairs are decided."""
    counts = Counter(judgement.verdict.outcome for judgement in judgements)
    better, worse = counts[Outcome.A_BETTER], counts[Outcome.B_BETTER]
    alike, undecided = counts[Outcome.EQUIVALENT], counts[Outcome.UNDECIDED]
    if ranking.baseline is not None:
        told = _counted(
            (better, "beats", "beat", f"the baseline {ranking.baseline}"),
            (worse, "is", "are", "beaten by it"),
            (alike, "is", "are", "equivalent to it"),
            (undecided, "is", "are", "undecided"),
        )
        return f"Of {len(judgements)} contenders {told}."
    best = [standing.name for standing in ranking.standings if standing.may_be_best]
    ranked = len(ranking.standings) - len(ranking.unranked)
    number = f"{ranked} with enough seeds" if ranking.unranked else f"{ranked}"
    if not ranked:
        who = "Too few seeds to say which is the best"
    elif len(best) == ranked:
        who = f"Any of the {number} may be the best"
    else:
        which = _either(best) if len(best) <= FEW else f"one of {len(best)}"
        who = f"The best of {number} is {which} (with a confidence of at least {ranking.level:.0%})"
    told = _counted(
        (better + worse, "differs", "differ", ""),
        (alike, "is", "are", "equivalent"),
        (undecided, "is", "are", "undecided"),
    )
    return f"{who}; of {len(judgements)} pairs {told}."


def tuning_sentences(findings: Findings) -> list[str]:
    """What the searches chose and cost, and who leads with how many trials."""
    told = [_chosen(searches) for searches in findings.searches]
    curves = {each.label: each.curve for each in findings.searches if each.curve is not None}
    for judgement in findings.told:
        a, b = curves.get(judgement.a), curves.get(judgement.b)
        if a is not None and b is not None and (text := compare_curves(a, b)):
            told.append(f"Expected test accuracy of the best trial: {text}.")
    return told


def _chosen(searches: Searches) -> str:
    names = searches.found[0].values
    chosen = [f"{name} {_from_to([search.values[name] for search in searches.found])}" for name in names]
    count, spent = len(searches.trials), duration(searches.seconds)
    return f"{searches.label} was tuned to {', '.join(chosen)}; its {count} trials took {spent} of training."


def _from_to(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def on_top(judgements: Sequence[Judgement]) -> list[Judgement]:
    """The pairs that a chart shows: all if they are few, else those with the best one or the baseline."""
    if len(judgements) <= ROWS_OF_ALL:
        return list(judgements)
    first = judgements[0]
    return [one for one in judgements if first.a in (one.a, one.b) or one.b == first.b][:ROWS_OF_ONE]


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _counted(*parts: tuple[int, str, str, str]) -> str:
    """How many do what; with the verb for one, and for several."""
    told = [
        f"{count} {one if count == 1 else many} {what}".rstrip() for count, one, many, what in parts if count
    ]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
