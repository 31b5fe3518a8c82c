"""Why one model leads: what is left of it on permuted pixels, and what each ingredient brings.

All numbers are per-example contrasts over paired runs with the intervals of `compare_scores`. Each interval
stands alone at the study's level; they are not adjusted for being several.

Array letters: S seeds that all contenders of a question have finished, M test images.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Comparison, Method, interval_at
from tiebreak.evidence.compare.pair import compare_scores
from tiebreak.evidence.describe.quality import Spread, spread
from tiebreak.results.results import Results
from tiebreak.results.run import Cost

Scores = Float[np.ndarray, "S M"]  # 1 where the test image was classified correctly, else 0

SELF_CHECK_LEVEL = 0.99  # of the interval that speaks of a fault: a false alarm in one study of a hundred
SELF_CHECK_MARGIN = 0.02  # a change of accuracy by less would not matter to the answer
SELF_CHECK_ALPHA = 0.05  # how often a fault of the margin's size may pass
SHARE_LIMIT = 100.0  # a share whose interval reaches further is as good as unknown


@dataclass(frozen=True, kw_only=True)
class Share:
    """A fraction of the lead with its Fieller interval; an end is None where nothing bounds it."""

    value: float
    ci_low: float | None
    ci_high: float | None


class CheckResult(StrEnum):
    """What a self-check shows."""

    PASSED = "passed"  # the change is surely smaller than the margin
    FAILED = "failed"  # there surely is a change, and it may be larger
    OPEN = "open"


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """A model to which pixel order means nothing must not notice a permutation: a test of equivalence."""

    label: str
    change: Comparison  # accuracy on permuted pixels minus accuracy on the images as they are
    margin: float = SELF_CHECK_MARGIN

    @property
    def result(self) -> CheckResult:
        if (
            self.change.method is Method.ONE_SEED
        ):  # two checkpoints, which another seed would have changed too
            return CheckResult.OPEN
        low, high = interval_at(self.change, 1 - 2 * SELF_CHECK_ALPHA)
        if -self.margin < low and high < self.margin:
            return CheckResult.PASSED
        holds_0 = self.change.ci_low <= 0 <= self.change.ci_high
        return CheckResult.OPEN if holds_0 else CheckResult.FAILED


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """B's lead over A with the pixels in place and permuted."""

    a: str
    b: str
    accuracy: dict[str, Spread]  # of A and B, and of both on permuted pixels
    lead: Comparison  # B - A
    lead_permuted: Comparison
    difference: Comparison  # lead - lead_permuted
    share: Share | None  # difference / lead; None where the lead itself may be 0
    self_check: SelfCheck


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One model of a ladder."""

    label: str
    accuracy: Spread
    cost: Cost


@dataclass(frozen=True, kw_only=True)
class Step:
    """From one rung to the next."""

    start: str
    end: str
    ingredient: str  # what the step adds, in words
    gain: Comparison  # end - start


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The way from A to B in steps, whose gains add up to the lead."""

    rungs: tuple[Rung, ...]
    steps: tuple[Step, ...]
    lead: Comparison


@dataclass(frozen=True, kw_only=True)
class SizeMatch:
    """B against an MLP of its size."""

    label: str
    by: str  # "params" or "flops"
    accuracy: Spread
    cost: Cost
    lead: Comparison  # B - the MLP


@dataclass(frozen=True, kw_only=True)
class Size:
    """B's lead over A, and over MLPs of B's size."""

    a: str
    b: str
    cost_a: Cost
    cost_b: Cost
    lead: Comparison
    matches: tuple[SizeMatch, ...]


def answer_arrangement(
    results: Results, a: str, b: str, blind: str, permuted: Mapping[str, str]
) -> Arrangement:
    """A difference of differences: what the lead loses when the pixels are permuted.

    Arguments: `blind` - a model to which the order of the pixels means nothing; `permuted` - the label of
    each of the three on permuted pixels.

    Raises: EvidenceError if no seed is finished for all contenders it needs.
    """
    shown = (a, b, permuted[a], permuted[b])
    correct = load_correct(results, (*shown, blind, permuted[blind]))
    level = results.rule.level
    lead = correct[b] - correct[a]
    lead_permuted = correct[permuted[b]] - correct[permuted[a]]
    change = correct[permuted[blind]] - correct[blind]
    return Arrangement(
        a=a,
        b=b,
        accuracy={label: accuracy_of(correct[label]) for label in shown},
        lead=compare_scores(lead, bound=1.0, level=level),
        lead_permuted=compare_scores(lead_permuted, bound=1.0, level=level),
        difference=compare_scores(lead - lead_permuted, bound=2.0, level=level),
        share=share_of_lead(lead, lead_permuted, level),
        self_check=SelfCheck(label=blind, change=compare_scores(change, bound=1.0, level=SELF_CHECK_LEVEL)),
    )


def share_of_lead(lead: Scores, lead_permuted: Scores, level: float) -> Share | None:
    """1 - lead_permuted / lead with its interval; None if the lead's own interval holds 0.

    Fieller's way with the project's own interval: a share s belongs to it if the mean of
    (lead - lead_permuted) - s * lead may be 0 (Fieller 1954, JRSS B 16:175).
    """
    of_lead = compare_scores(lead, bound=1.0, level=level)
    if of_lead.ci_low <= 0 <= of_lead.ci_high:
        return None

    def contrast(share: float) -> Comparison:
        return compare_scores((1 - share) * lead - lead_permuted, bound=1 + abs(1 - share), level=level)

    # The contrast falls with the share if the lead is positive, and rises if it is negative.
    ends = [
        _crossing(lambda share: contrast(share).ci_low),
        _crossing(lambda share: contrast(share).ci_high),
    ]
    low, high = ends if of_lead.difference > 0 else reversed(ends)
    return Share(value=1 - float(lead_permuted.mean() / lead.mean()), ci_low=low, ci_high=high)


def _crossing(function: Callable[[float], float]) -> float | None:
    """Where a function of the share is 0; None if that is nowhere near."""
    if math.copysign(1, function(-SHARE_LIMIT)) == math.copysign(1, function(SHARE_LIMIT)):
        return None
    from scipy.optimize import brentq  # late: a sixth of a second

    return float(brentq(function, -SHARE_LIMIT, SHARE_LIMIT, xtol=1e-4))


def answer_ladder(results: Results, rungs: Sequence[tuple[str | None, str]]) -> Ladder:
    """What each rung brings: (what it adds to the one before, label). Raises: EvidenceError, as above."""
    labels = [label for _, label in rungs]
    correct = load_correct(results, labels)
    level = results.rule.level
    steps = tuple(
        Step(
            start=start,
            end=end,
            ingredient=ingredient,
            gain=compare_scores(correct[end] - correct[start], bound=1.0, level=level),
        )
        for (_, start), (ingredient, end) in itertools.pairwise(rungs)
        if ingredient is not None
    )
    return Ladder(
        rungs=tuple(
            Rung(label=label, accuracy=accuracy_of(correct[label]), cost=cost_of(results, label))
            for label in labels
        ),
        steps=steps,
        lead=compare_scores(correct[labels[-1]] - correct[labels[0]], bound=1.0, level=level),
    )


def answer_size(results: Results, a: str, b: str, matched: Mapping[str, str]) -> Size:
    """B's lead over MLPs of its size; `matched`: their labels, by "params" and "flops".

    Raises: EvidenceError, as above.
    """
    correct = load_correct(results, [a, b, *matched.values()])
    level = results.rule.level

    def lead_over(label: str) -> Comparison:
        return compare_scores(correct[b] - correct[label], bound=1.0, level=level)

    return Size(
        a=a,
        b=b,
        cost_a=cost_of(results, a),
        cost_b=cost_of(results, b),
        lead=lead_over(a),
        matches=tuple(
            SizeMatch(
                label=label,
                by=by,
                accuracy=accuracy_of(correct[label]),
                cost=cost_of(results, label),
                lead=lead_over(label),
            )
            for by, label in matched.items()
        ),
    )


def load_correct(results: Results, labels: Iterable[str]) -> dict[str, Scores]:
    """By contender: which test images were right, over the seeds that all of them have finished.

    Raises: EvidenceError if there is no such seed.
    """
    by_seed = {label: results.correct(label) for label in dict.fromkeys(labels)}
    common = sorted(set.intersection(*(set(runs) for runs in by_seed.values())))
    if not common:
        raise EvidenceError(
            f"{results.source}: no seed is finished for all of {', '.join(by_seed)}; they cannot be compared."
        )
    return {
        label: np.stack([runs[seed] for seed in common]).astype(np.float64) for label, runs in by_seed.items()
    }


def accuracy_of(correct: Scores) -> Spread:
    """The test accuracy over seeds."""
    return spread([float(value) for value in correct.mean(axis=1)])


def cost_of(results: Results, label: str) -> Cost:
    """What a contender's model costs. Raises: EvidenceError if no finished run tells."""
    for run in results.of(label).runs.values():
        if run.cost is not None:
            return run.cost
    raise EvidenceError(f"{results.source}: no finished run of {label} tells its cost.")
