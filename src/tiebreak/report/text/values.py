"""The numbers of a study as plain values, for JSON. Accuracies and differences are fractions."""

import json
from dataclasses import asdict
from typing import Any

from pydantic_core import to_jsonable_python

from tiebreak.evidence.claims.outcome import ClaimOutcome
from tiebreak.evidence.compare.also import AlsoJudged
from tiebreak.evidence.compare.judgement import Judgement
from tiebreak.evidence.compare.simultaneous import Ranking
from tiebreak.evidence.compare.until_decided import LookState
from tiebreak.evidence.describe.quality import ContenderSummary, Spread
from tiebreak.evidence.describe.tuning import Searches
from tiebreak.evidence.plan.budget import Budget
from tiebreak.results.results import Measure


def strict_json(value: Any, **layout: Any) -> str:
    """JSON that every reader takes: what is no number (NaN) or has no end (infinity) is null."""
    return json.dumps(to_jsonable_python(value, inf_nan_mode="null"), allow_nan=False, **layout)


def spread_as_json(spread: Spread | None) -> dict[str, Any] | None:
    return None if spread is None else {"mean": spread.mean, "sd": spread.sd, "values": list(spread.values)}


def contender_as_json(summary: ContenderSummary) -> dict[str, Any]:
    """One entry of `contenders` in the JSON that the command line prints; accuracies are fractions."""
    return {
        "val_acc": spread_as_json(summary.val_acc),
        "score" if summary.measure is Measure.SCORES else "test_acc": spread_as_json(summary.test_acc),
        "val_loss": spread_as_json(summary.val_loss),
        "test_loss": spread_as_json(summary.test_loss),
        "gap": spread_as_json(summary.gap),
        "recipe": summary.recipe,
        "params": summary.cost and summary.cost.params,
        "flops": summary.cost and summary.cost.flops,
        "train_seconds": summary.train_seconds and list(summary.train_seconds.values),
        "images_per_second": summary.images_per_second and list(summary.images_per_second.values),
        "seeds": list(summary.seeds),
        "failed": {str(seed): reason for seed, reason in summary.failed.items()},
        "missing": list(summary.missing),
    }


def tuned_as_json(searches: Searches) -> dict[str, Any]:
    """The entry `tuned` of a contender: what its searches chose, and what they cost."""
    return {
        "values": [search.values for search in searches.found],
        "search_seeds": [search.seed for search in searches.found],
        "chosen": [search.trial for search in searches.found],
        "trials": len(searches.found[0].trials),
        "seconds": searches.seconds,
    }


def judgement_as_json(judgement: Judgement) -> dict[str, Any]:
    """One entry of `comparisons`: the difference a - b in test accuracy, as a fraction."""
    comparison = judgement.verdict.comparison
    return {
        "a": judgement.a,
        "b": judgement.b,
        "difference": comparison.difference,
        "ci_low": comparison.ci_low,
        "ci_high": comparison.ci_high,
        "level": comparison.level,
        "p_value": judgement.verdict.p_value,
        "margin": judgement.verdict.margin,
        "p_equivalence": judgement.verdict.p_equivalence,
        "detectable_difference": judgement.verdict.detectable,
        "superiority": judgement.verdict.superiority,
        "superior": None if judgement.verdict.superiority is None else judgement.verdict.superior,
        "seed_share": comparison.seed_share,
        "variances": {
            "seeds": comparison.seed_variance,
            "test_images": comparison.test_variance,
            "training_images": comparison.data_variance,
        },
        "pair_correlation": comparison.pair_correlation,
        "seed_differences": list(comparison.seed_differences),
        "n_seeds": comparison.n_seeds,
        "n_examples": comparison.n_examples,
        "verdict": judgement.verdict.outcome.value,
        "next_step": asdict(judgement.verdict.next_step),
        "sentence": judgement.sentence,
        "scope": judgement.scope,
    }


def also_as_json(also: AlsoJudged) -> dict[str, Any]:
    """One entry of `also`: what the study's models show on a further test part."""
    return {
        "images": also.images,
        "same_order": also.same_order,
        "contenders": {each.label: spread_as_json(each.test_acc) for each in also.contenders},
        "comparisons": [judgement_as_json(judgement) for judgement in also.judgements],
    }


def looks_as_json(looks: LookState) -> dict[str, Any]:
    """The entry `looks`: how far a study that trains seeds until it is decided has come."""
    return {
        "declared": list(looks.looks),
        "done": looks.looks_done,
        "seeds": list(looks.seeds),
        "stopped": looks.stopped,
        "next_look": looks.next_look,
        "decisions": [
            {"a": a, "b": b, "reason": decision.reason.value} for (a, b), decision in looks.decisions.items()
        ],
    }


def ranking_as_json(ranking: Ranking) -> list[dict[str, Any]]:
    """The entry `ranking`, best first."""
    return [
        {
            "contender": standing.name,
            "test_acc": standing.accuracy,
            "letters": standing.letters,
            "may_be_best": standing.may_be_best,
        }
        for standing in ranking.standings
    ]


def claim_as_json(outcome: ClaimOutcome) -> dict[str, Any]:
    """One entry of `claims` in the JSON that `check` prints."""
    return {
        "claim": outcome.claim.text,
        "finding": outcome.finding.value,
        "value": outcome.value,
        "low": outcome.low,
        "high": outcome.high,
        "level": outcome.level,
        "n_seeds": outcome.n_seeds,
        "reason": outcome.reason,
    }


def budget_as_json(budget: Budget) -> dict[str, Any]:
    """The object that `plan --json` prints."""
    advice, basis = budget.advice, budget.basis
    seconds = None
    if advice.seeds is not None and basis.seconds_per_seed is not None:
        seconds = advice.seeds * basis.seconds_per_seed
    return {
        "source": basis.source,
        "difference": advice.difference,
        "power_wanted": advice.power_wanted,
        "level": basis.setting.level,
        "seeds": advice.seeds,
        "train_seconds": seconds,
        "equivalence_seeds": budget.equivalence_seeds,
        "smallest_difference": advice.smallest_difference,
        "test_set_factor": advice.test_set_factor,
        "curve": [{"seeds": n, "power": p} for n, p in zip(budget.seeds, budget.power, strict=True)],
    }
