"""An explanation as plain values, for JSON. Accuracies and differences are fractions."""

from collections.abc import Callable
from typing import Any, TypeVar

from tiebreak.evidence.compare.comparison import Comparison
from tiebreak.evidence.why.answers import Explanation
from tiebreak.evidence.why.efficiency import DataCurve
from tiebreak.evidence.why.robustness import Breakdown
from tiebreak.evidence.why.spatial import Arrangement, Ladder, Size
from tiebreak.report.text.tables import spread_as_json

Answer = TypeVar("Answer")


def explanation_as_json(explanation: Explanation) -> dict[str, Any]:
    """The content of explain.json, and what `--json` prints; a question that was not asked is left out."""
    results = explanation.results
    data = results.examples
    answers = {
        "arrangement": _if_asked(explanation.arrangement, arrangement_as_json),
        "ladder": _if_asked(explanation.ladder, steps_as_json),
        "control": _if_asked(explanation.control, steps_as_json),
        "size": _if_asked(explanation.size, size_as_json),
        "data": _if_asked(explanation.data, data_as_json),
        "shift": _if_asked(explanation.shift, shift_as_json),
    }
    return {key: answer for key, answer in answers.items() if answer is not None} | {
        "a": explanation.a,
        "b": explanation.b,
        "study": results.source,
        "dataset": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "verified": data.verified,
            "notes": list(data.notes),
        },
        "seeds": list(results.rule.seeds),
        "sentences": explanation.sentences,
    }


def arrangement_as_json(answer: Arrangement) -> dict[str, Any]:
    share, check = answer.share, answer.self_check
    return {
        "lead": answer.lead.difference,
        "lead_permuted": answer.lead_permuted.difference,
        **interval_as_json(answer.difference),
        "share": share and share.value,
        "share_ci_low": share and share.ci_low,
        "share_ci_high": share and share.ci_high,
        "lead_interval": interval_as_json(answer.lead),
        "lead_permuted_interval": interval_as_json(answer.lead_permuted),
        "accuracy": {label: spread_as_json(spread) for label, spread in answer.accuracy.items()},
        "self_check": {"model": check.label, "result": check.result.value, **interval_as_json(check.change)},
    }


def steps_as_json(ladder: Ladder) -> list[dict[str, Any]]:
    return [
        {
            "from": step.start,
            "to": step.end,
            "ingredient": str(step.ingredient),
            "gain": step.gain.difference,
            "ci_low": step.gain.ci_low,
            "ci_high": step.gain.ci_high,
            "level": step.gain.level,
        }
        for step in ladder.steps
    ]


def size_as_json(answer: Size) -> dict[str, Any]:
    return {
        "lead": interval_as_json(answer.lead),
        "matches": [
            {
                "label": match.label,
                "by": match.by,
                "params": match.cost.params,
                "flops": match.cost.flops,
                "accuracy": spread_as_json(match.accuracy),
                "lead": interval_as_json(match.lead),
            }
            for match in answer.matches
        ],
    }


def data_as_json(curve: DataCurve) -> dict[str, Any]:
    return {
        "same": "steps",
        "points": [
            {
                "images": point.images,
                "epochs": point.epochs,
                "a": spread_as_json(point.accuracy_a),
                "b": spread_as_json(point.accuracy_b),
                "lead": interval_as_json(point.lead),
            }
            for point in curve.points
        ],
        "equivalents": [vars(equivalent) for equivalent in curve.equivalents],
    }


def shift_as_json(breakdown: Breakdown) -> list[dict[str, Any]]:
    return [
        {
            "distortion": point.distortion,
            "strength": point.strength,
            "unit": point.unit,
            "a": spread_as_json(point.accuracy_a),
            "b": spread_as_json(point.accuracy_b),
            "lead": interval_as_json(point.lead),
            "extra_loss": _if_asked(point.extra_loss, interval_as_json),
        }
        for point in breakdown.points
    ]


def interval_as_json(comparison: Comparison) -> dict[str, float]:
    return {
        "difference": comparison.difference,
        "ci_low": comparison.ci_low,
        "ci_high": comparison.ci_high,
        "level": comparison.level,
    }


def _if_asked(answer: Answer | None, convert: Callable[[Answer], Any]) -> Any:
    return None if answer is None else convert(answer)
