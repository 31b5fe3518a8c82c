"""An explanation in plain sentences, with its numbers and with their uncertainty."""

from tiebreak.evidence.compare.comparison import Comparison, Method
from tiebreak.evidence.why.efficiency import DataCurve, Equivalent
from tiebreak.evidence.why.robustness import Breakdown, DistortedPoint
from tiebreak.evidence.why.spatial import Arrangement, CheckResult, Ladder, SelfCheck, Size

NEGLIGIBLE = 0.01  # an effect under one point is called small, whatever its interval


def arrangement_sentences(answer: Arrangement) -> list[str]:
    """Whether the lead needs the arrangement of the pixels."""
    a, b = answer.a, answer.b
    sentences = [f"On the images as they are, {lead_text(answer.lead, a, b)}."]
    if excludes_zero(answer.lead):
        sentences.append(f"With the pixels permuted, {lead_text(answer.lead_permuted, a, b)}.")
    else:
        sentences.append(
            f"There is no sure lead to explain; with the pixels permuted, "
            f"{lead_text(answer.lead_permuted, a, b)}."
        )
    change = _amount(answer.difference)
    if not excludes_zero(answer.difference):
        sentences.append(
            f"Inconclusive: permuting the pixels changes the lead by {change}, which may be nothing, "
            f"so no advantage from the arrangement is claimed."
        )
    elif answer.difference.difference < 0:
        sentences.append(
            f"Permuting the pixels does not reduce {b}'s lead: it changes by {change} in {b}'s favour."
        )
    else:
        small = ", a small effect" if answer.difference.difference < NEGLIGIBLE else ""
        sentences.append(
            f"The arrangement of the pixels is worth {change} of the lead{small}{_share(answer)}."
        )
    sentences.append(self_check_sentence(answer.self_check))
    return sentences + few_seeds_caution(answer.difference)


def _share(answer: Arrangement) -> str:
    share = answer.share
    if share is None:
        return "; what share that is cannot be said, as the lead itself is not sure"
    if share.ci_low is None or share.ci_high is None:
        return f", {100 * share.value:.0f}% of it (how sure that share is, the data do not bound)"
    level = f"{100 * answer.difference.level:g}% CI {100 * share.ci_low:.0f}% to {100 * share.ci_high:.0f}%"
    text = f", {100 * share.value:.0f}% of it ({level})"
    if share.value > 1 and excludes_zero(answer.lead_permuted):
        return f"{text}: all of it and more, for without arrangement {answer.b} is the worse of the two"
    return text


def self_check_sentence(check: SelfCheck) -> str:
    """Whether the model that cannot see arrangement stayed where it was."""
    what = f"{check.label}, to which pixel order means nothing, changed by {_amount(check.change)}"
    margin = f"{100 * check.margin:g} points"
    if check.result is CheckResult.PASSED:
        return f"Self-check passed: {what}, shown to be less than {margin}."
    if check.result is CheckResult.OPEN:
        return (
            f"Self-check open: {what}; that does not speak against the answer, but a change of {margin} is "
            "not excluded: train more seeds, or test on more images."
        )
    return (
        f"SELF-CHECK FAILED: {what} when the pixels were permuted; something else differs between the two, "
        "so do not rely on this answer."
    )


def ladder_sentences(answer: Ladder) -> list[str]:
    """What each step brings."""
    steps = []
    for step in answer.steps:
        doubt = "" if excludes_zero(step.gain) else ", inconclusive"
        steps.append(f"{step.ingredient} ({step.start} -> {step.end}) {_signed(step.gain)}{doubt}")
    first, last = answer.rungs[0].label, answer.rungs[-1].label
    return [
        f"From {first} to {last} in steps: {'; '.join(steps)}; together {_signed(answer.lead)}.",
        *few_seeds_caution(answer.lead),
    ]


def size_sentences(answer: Size) -> list[str]:
    """Whether the lead is just a matter of size."""
    sentences = [
        f"{answer.b} has {answer.cost_b.params:,} parameters and {answer.cost_b.flops:,} FLOPs an image, "
        f"{answer.a} has {answer.cost_a.params:,} and {answer.cost_a.flops:,}."
    ]
    for match in answer.matches:
        what = "parameters" if match.by == "params" else "FLOPs"
        sentences.append(f"Against an MLP matched in {what}, {lead_text(match.lead, match.label, answer.b)}.")
    return sentences + few_seeds_caution(answer.lead)


def data_sentences(answer: DataCurve) -> list[str]:
    """How the lead depends on the amount of data."""
    least, most = answer.points[0], answer.points[-1]
    sentences = [
        f"Trained for the same number of steps on {least.images:,} images, "
        f"{lead_text(least.lead, answer.a, answer.b)}; on {most.images:,}, "
        f"{lead_text(most.lead, answer.a, answer.b)}."
    ]
    sentences += [_equivalent_sentence(point, answer) for point in answer.equivalents]
    return sentences + few_seeds_caution(most.lead)


def _equivalent_sentence(point: Equivalent, answer: DataCurve) -> str:
    start = f"What {answer.b} reaches with {point.images_b:,} images, {answer.a}"
    fewest, most = answer.points[0].images, answer.points[-1].images
    if point.more:
        return f"{start} does not reach with {most:,}."
    if point.fewer:
        return f"{start} reaches with fewer than {fewest:,}."
    low = f"fewer than {fewest:,}" if point.ci_low is None else f"{point.ci_low:,.0f}"
    high = f"more than {most:,}" if point.ci_high is None else f"{point.ci_high:,.0f}"
    ends = f"{100 * point.level:g}% CI {low} to {high}"
    if point.images_a is None:
        return f"{start} may reach with a number of images that {fewest:,} to {most:,} do not show ({ends})."
    return f"{start} reaches with about {point.images_a:,.0f} ({ends})."


def shift_sentences(answer: Breakdown) -> list[str]:
    """What the strongest distortion of each kind does to both."""
    strongest: dict[str, DistortedPoint] = {point.distortion: point for point in answer.points}
    sentences = []
    for point in strongest.values():
        loss = point.extra_loss
        if loss is None:
            continue
        accuracies = (
            f"{answer.a} {100 * point.accuracy_a.mean:.1f}%, {answer.b} {100 * point.accuracy_b.mean:.1f}%"
        )
        if excludes_zero(loss):
            word = "more" if loss.difference > 0 else "less"
            end = f"{answer.b} loses {word} than {answer.a} by {_amount(loss, absolute=True)}"
        else:
            end = f"inconclusive whose loss is larger (difference {_amount(loss)})"
        sentences.append(f"Under {point.distortion} by {point.strength:g} {point.unit}: {accuracies}; {end}.")
    return sentences + few_seeds_caution(answer.points[0].lead)


def lead_text(lead: Comparison, a: str, b: str) -> str:
    """ "cnn leads mlp by 20.5 points (95% CI 19.6 to 21.4)", or that it is not sure who leads."""
    if not excludes_zero(lead):
        return f"it is inconclusive whether {b} leads {a}: {_signed(lead)}"
    if lead.difference < 0:
        return f"{b} is behind {a} by {_amount(lead, absolute=True)}"
    return f"{b} leads {a} by {_amount(lead)}"


def excludes_zero(comparison: Comparison) -> bool:
    """Whether the interval lies on one side of 0."""
    return not comparison.ci_low <= 0 <= comparison.ci_high


def few_seeds_caution(comparison: Comparison) -> list[str]:
    """What must be said of one seed, and of two."""
    if comparison.n_seeds == 2:
        return [
            "Two seeds show too little of the luck of the seed, so these intervals are wide: train a third."
        ]
    if comparison.method is not Method.ONE_SEED:
        return []
    return ["With one seed, these intervals speak of these checkpoints only; train at least 3 seeds."]


def _amount(comparison: Comparison, absolute: bool = False) -> str:
    """The difference in points with its interval; `absolute`: of an effect whose direction words give."""
    sign = -1 if absolute and comparison.difference < 0 else 1
    low, high = sorted((sign * comparison.ci_low, sign * comparison.ci_high))
    return (
        f"{_number(sign * comparison.difference)} points "
        f"({100 * comparison.level:g}% CI {_number(low)} to {_number(high)})"
    )


def _signed(comparison: Comparison) -> str:
    return f"{'+' if comparison.difference > 0 else ''}{_amount(comparison)}"


def _number(fraction: float) -> str:
    return f"{round(100 * fraction, 1) + 0.0:.1f}"  # adding 0 turns -0.0 into 0.0
