"""What a study's runs entitle one to say: every pair of contenders compared, judged and put into words."""

from dataclasses import dataclass

import numpy as np

from tiebreak.errors import EvidenceError
from tiebreak.evidence.quality import correct_on_test
from tiebreak.evidence.sentence import sentence
from tiebreak.evidence.simultaneous import Ranking, compare_all
from tiebreak.evidence.verdict import Verdict, judge
from tiebreak.study.store import StoredStudy


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One pair of contenders; `a` is the one with the higher mean accuracy on the test images."""

    a: str
    b: str
    verdict: Verdict
    sentence: str


def rank_contenders(stored: StoredStudy) -> Ranking | None:
    """All pairs compared over the seeds that every contender has finished; None for a single contender.

    Raises: EvidenceError if no seed is finished for all of them.
    """
    labels = [contender.label for contender in stored.study.contenders]
    if len(labels) < 2:
        return None
    correct = {label: correct_on_test(stored, label) for label in labels}
    common = sorted(set.intersection(*(set(by_seed) for by_seed in correct.values())))
    if not common:
        raise EvidenceError(
            f"{stored.folder}: no seed is finished for every contender, so nothing can be compared."
        )
    arrays = {label: np.stack([by_seed[seed] for seed in common]) for label, by_seed in correct.items()}
    return compare_all(arrays, level=stored.study.level)


def judge_pairs(ranking: Ranking) -> tuple[Judgement, ...]:
    """A verdict and its sentence for every pair of a ranking."""
    verdicts = [
        judge(pair.comparison, p_adjusted=pair.p_adjusted, n_comparisons=len(ranking.pairs))
        for pair in ranking.pairs
    ]
    return tuple(
        Judgement(a=pair.a, b=pair.b, verdict=verdict, sentence=sentence(verdict, pair.a, pair.b))
        for pair, verdict in zip(ranking.pairs, verdicts, strict=True)
    )
