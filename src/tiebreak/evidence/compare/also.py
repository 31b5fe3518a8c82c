"""The same trained models on further test parts: a verdict each, and whether the ranking holds."""

from dataclasses import dataclass

from tiebreak.evidence.compare.judgement import Judgement, judge_study
from tiebreak.evidence.compare.simultaneous import Ranking
from tiebreak.evidence.describe.quality import ContenderSummary, summarise_contenders
from tiebreak.results.results import Results


@dataclass(frozen=True, kw_only=True)
class AlsoJudged:
    """What the models of a study show on another test part."""

    name: str
    images: int
    contenders: tuple[ContenderSummary, ...]
    judgements: tuple[Judgement, ...]
    same_order: bool | None  # whether the contenders come in the order of the study's own test images

    @property
    def sentence(self) -> str:
        """How the contenders did, and whether the order holds."""
        best_first = sorted(self.contenders, key=lambda each: -each.test_acc.mean)
        told = ", ".join(f"{each.label} {100 * each.test_acc.mean:.1f}" for each in best_first)
        order = {None: "", True: "; the same order", False: "; another order"}[self.same_order]
        return f"On {self.name} ({self.images:,} images): {told}{order}."


def judge_also(ranking: Ranking | None, results: Results) -> AlsoJudged:
    """Judge the answers to another test part by the study's rule, over the same seeds.

    `ranking`: on the study's own test images.
    """
    judged = judge_study(results)
    orders = [
        None if each is None else [standing.name for standing in each.standings]
        for each in (ranking, judged.ranking)
    ]
    return AlsoJudged(
        name=results.examples.name,
        images=len(results.examples.truth),
        contenders=summarise_contenders(results),
        judgements=judged.judgements,
        same_order=None if None in orders else orders[0] == orders[1],
    )
