"""What the page's charts and panels draw from: plain values that go into the page as JSON."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from tiebreak.evidence.compare.judgement import Judgement
from tiebreak.evidence.compare.per_class import ClassDifference, compare_classes, confusion
from tiebreak.evidence.describe.calibration import Calibration, ReliabilityBin, calibrate
from tiebreak.evidence.describe.curves import Overfitting, find_overfitting
from tiebreak.evidence.describe.mistakes import Mistakes, find_mistakes, most_disputed, seed_disagreement
from tiebreak.evidence.describe.predictions import Predicted, common_seeds, predicted_by
from tiebreak.evidence.describe.quality import ContenderSummary
from tiebreak.evidence.describe.tuning import Searches
from tiebreak.report.page.live import LiveModel
from tiebreak.report.page.sheet import Sheet
from tiebreak.report.text.explained import curves_of, explanation_as_json
from tiebreak.report.text.findings import Findings, on_top
from tiebreak.report.text.labels import short_labels
from tiebreak.report.text.tables import Table

SHOWN = 24  # images of a list
TOP = 3  # classes told for an image
SHORT = 24  # characters of a contender's name in a chart


@dataclass(frozen=True, kw_only=True)
class Again:
    """How to get the same numbers again, and what they came from."""

    toml: str  # the study as a file
    facts: tuple[tuple[str, str], ...]  # versions, hashes
    timings: Table  # a row a run


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What the page shows beside the findings, as plain values."""

    facts: tuple[tuple[str, str], ...]  # under the verdict: data, recipes, seeds, date, machine
    image_shape: tuple[int, int, int]  # channels, height, width
    mean: tuple[float, ...]  # of each channel, as the models were trained
    std: tuple[float, ...]
    sheet: Sheet | None
    picture: bytes  # the sheet's images as a PNG file
    inside: tuple[dict[str, Any], ...]  # as `inside_entry`
    live: tuple[LiveModel, ...]
    again: Again | None


@dataclass(frozen=True, kw_only=True)
class PairLook:
    """Two contenders side by side, by their places in the plan."""

    a: int
    b: int
    classes: tuple[ClassDifference, ...]
    mistakes: Mistakes


@dataclass(frozen=True, kw_only=True)
class Look:
    """All that the page shows of the predictions."""

    predicted: tuple[Predicted, ...]
    calibrations: tuple[Calibration, ...]
    overfittings: tuple[Overfitting | None, ...]
    pairs: tuple[PairLook, ...]


def look_at(findings: Findings) -> Look:
    """Ask the evidence everything that the page shows; one entry a contender that has a finished run."""
    results, labels = findings.results, [summary.label for summary in findings.summaries]
    predicted = tuple(predicted_by(results, label) for label in labels)
    pairs = tuple(
        PairLook(
            a=a,
            b=b,
            classes=compare_classes(predicted[a], predicted[b], level=results.rule.level),
            mistakes=find_mistakes(predicted[a], predicted[b]),
        )
        for a, b in combinations(range(len(predicted)), 2)
        if set(predicted[a].seeds) & set(predicted[b].seeds)
    )
    histories = ([run.history for run in results.of(label).runs.values() if run.history] for label in labels)
    return Look(
        predicted=predicted,
        calibrations=tuple(calibrate(one) for one in predicted),
        overfittings=tuple(find_overfitting(curves) for curves in histories),
        pairs=pairs,
    )


def chart_data(findings: Findings, look: Look, material: Material) -> dict[str, Any]:
    """The JSON object of the page. Accuracies and differences are fractions, losses nats."""
    results, sheet = findings.results, material.sheet
    place = {image.index: position for position, image in enumerate(sheet.images if sheet else ())}
    short = short_labels([summary.label for summary in findings.summaries], SHORT)
    return {
        "classes": list(results.examples.class_names),
        "shape": list(material.image_shape),
        "mean": list(material.mean),
        "std": list(material.std),
        "level": results.rule.level,
        "contenders": [
            _contender(findings, summary, short[summary.label], look, index)
            for index, summary in enumerate(findings.summaries)
        ],
        "verdicts": [_verdict(judgement) for judgement in on_top(findings.judgements)],
        "pairs": [_pair(pair, look, place) for pair in look.pairs],
        "alone": [_places(most_disputed(one), place) for one in look.predicted],
        "sheet": None if sheet is None else _sheet(sheet, look),
        "live": [
            {
                "label": model.label,
                "colour": findings.colours[model.label],
                "layers": model.layers,
                "seeds": list(model.seeds),
                "leftOut": model.left_out,
            }
            for model in material.live
        ],
        "tuning": [_tuning(searches, short) for searches in findings.searches],
        "explanation": findings.explained and explanation_as_json(findings.explained),
        "curves": list(curves_of(findings.explained)) if findings.explained else [],
    }


def _contender(
    findings: Findings, summary: ContenderSummary, short: str, look: Look, index: int
) -> dict[str, Any]:
    histories = [run.history for run in findings.results.of(summary.label).runs.values() if run.history]
    names = ("train_loss", "val_loss", "train_acc", "val_acc")
    calibration, overfitting = look.calibrations[index], look.overfittings[index]
    return {
        "label": summary.label,
        "short": short,
        "colour": findings.colours[summary.label],
        "seeds": list(summary.seeds),
        "curves": {
            name: [_rounded(history[name]) for history in histories]  # type: ignore[literal-required]
            for name in names
        },
        "overfitting": None if overfitting is None else asdict(overfitting),
        "accuracy": asdict(summary.test_acc),
        "costs": {
            "seconds": summary.train_seconds and asdict(summary.train_seconds),
            "flops": summary.cost and summary.cost.flops,
            "params": summary.cost and summary.cost.params,
        },
        "confusion": confusion(look.predicted[index]).tolist(),
        "reliability": [_bin(entry) for entry in calibration.bins],
        "reliabilityScaled": [_bin(entry) for entry in calibration.bins_scaled],
        "temperature": calibration.temperature.mean,
    }


def _tuning(searches: Searches, short: dict[str, str]) -> dict[str, Any]:
    """A contender's trials: what each setting gave, and what the best of 1, 2, ... reaches."""
    tried = [trial for trial in searches.trials if trial.val_acc is not None]
    return {
        "label": searches.label,
        "short": short[searches.label],
        "settings": {name: [trial.values[name] for trial in tried] for name in tried[0].values}
        if tried
        else {},
        "accuracy": [trial.val_acc for trial in tried],
        "curve": searches.curve and asdict(searches.curve),
    }


def _verdict(judgement: Judgement) -> dict[str, Any]:
    comparison = judgement.verdict.comparison
    return {
        "a": judgement.a,
        "b": judgement.b,
        "difference": comparison.difference,
        "low": comparison.ci_low,
        "high": comparison.ci_high,
    }


def _bin(entry: ReliabilityBin) -> dict[str, float]:
    return {key: round(value, 5) for key, value in asdict(entry).items()}


def _pair(pair: PairLook, look: Look, place: dict[int, int]) -> dict[str, Any]:
    mistakes, a, b = pair.mistakes, look.predicted[pair.a], look.predicted[pair.b]
    rows_a, _ = common_seeds(a, b)
    return {
        "a": pair.a,
        "b": pair.b,
        "seeds": len(rows_a),
        "classes": [
            {
                "label": entry.label,
                "images": entry.images,
                "a": entry.accuracy_a,
                "b": entry.accuracy_b,
                "low": entry.comparison and entry.comparison.ci_low,
                "high": entry.comparison and entry.comparison.ci_high,
            }
            for entry in pair.classes
        ],
        "shares": {
            "bothRight": mistakes.share_both_right,
            "onlyA": mistakes.share_only_a,
            "onlyB": mistakes.share_only_b,
            "bothWrong": mistakes.share_both_wrong,
        },
        "onlyA": _places(mistakes.only_a, place),
        "onlyB": _places(mistakes.only_b, place),
        "bothWrong": _places(mistakes.both_wrong, place),
        "disputed": _places(most_disputed(a, b), place),
    }


def _places(indices: np.ndarray, place: dict[int, int]) -> dict[str, Any]:
    """How many test images a list has, and the places on the sheet of the first of them."""
    on_sheet = [place[index] for index in indices.tolist() if index in place]
    return {"total": len(indices), "places": on_sheet[:SHOWN]}


def _sheet(sheet: Sheet, look: Look) -> dict[str, Any]:
    chosen = np.array([image.index for image in sheet.images])
    disagreement = [seed_disagreement(one)[chosen] for one in look.predicted]
    return {
        "columns": sheet.columns,
        "height": sheet.height,
        "width": sheet.width,
        "exact": sheet.exact,
        "images": [
            {
                "index": image.index,
                "label": image.label,
                "sample": image.sample,
                "top": [_top(one, image.index) for one in look.predicted],
                "votes": [one.classes[:, image.index].tolist() for one in look.predicted],
                "disagreement": [round(float(shares[position]), 3) for shares in disagreement],
            }
            for position, image in enumerate(sheet.images)
        ],
    }


def _top(predicted: Predicted, index: int) -> list[list[float]]:
    """The classes with the largest mean probability over seeds: [class, probability] each."""
    probs = predicted.probs[:, index].mean(axis=0)  # not mean_probs, which averages all images
    return [[int(k), round(float(probs[k]), 4)] for k in np.argsort(-probs, kind="stable")[:TOP]]


def _rounded(curve: Sequence[float]) -> list[float]:
    return [round(value, 5) for value in curve]


def as_data_uri(png: bytes) -> str:
    """A PNG file as an address that needs no request."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
