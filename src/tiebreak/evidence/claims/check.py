"""All that claims can be about, and what a study shows of it."""

from dataclasses import replace

from tiebreak.errors import EvidenceError
from tiebreak.evidence.claims.grammar import Claim, parse_claim
from tiebreak.evidence.claims.outcome import ClaimOutcome, Looks, Values, judge_claim, not_measured
from tiebreak.evidence.compare.comparison import Comparison
from tiebreak.evidence.compare.designs import compare_by_design
from tiebreak.evidence.compare.quantities import judged_results
from tiebreak.evidence.compare.until_decided import planned_seeds, sequential_plan, take_looks
from tiebreak.results.results import Measure, Pairing, Results
from tiebreak.results.run import Run, log_likelihood


def check_claims(results: Results, claims: list[str]) -> tuple[ClaimOutcome, ...]:
    """Judge claims such as "cnn - mlp >= 0.15" one by one by what a study measured.

    Raises: ClaimError if one cannot be read, names what was not measured, or joins runs without a common
    seed; EvidenceError if no look is complete.
    """
    parsed = [parse_claim(text) for text in claims]
    if results.rule.pairing is Pairing.FOLDS or any(contender.own for contender in results.contenders):
        raise EvidenceError(
            f"{results.source}: claims are held against runs on the same test images; a cross-validation, or "
            "contenders on different images, are judged by tiebreak judge alone."
        )
    absent = {one.label: one.why_none for one in results.without_runs}
    looks = None
    if results.rule.looks is not None:
        state, _ = take_looks(results)
        plan = sequential_plan(replace(results.rule, equivalence=None))
        looks = Looks(plan=plan, seeds=planned_seeds(results.rule, state.looks_done))
    measured = measured_values(judged_results(results)[0])
    steps = _steps(results)
    outcomes = []
    for claim in parsed:
        design = _by_design(results, claim)
        missing = [term.contender for term in claim.terms if term.contender in absent]
        if missing:
            outcomes.append(not_measured(claim, f"{missing[0]}: {absent[missing[0]]}"))
        else:
            outcomes.append(
                judge_claim(
                    claim,
                    measured,
                    level=results.rule.level,
                    looks=looks,
                    steps=steps,
                    groups=results.examples.groups,
                    by_design=design,
                )
            )
    return tuple(outcomes)


def _by_design(results: Results, claim: Claim) -> Comparison | None:
    """The comparison that a claim about two contenders' difference is held against, where their seeds are not
    simply paired; None for any other claim.

    Raises: EvidenceError for other claims about several contenders where seeds are not paired.
    """
    rule = results.rule
    if rule.pairing is Pairing.PAIRED and rule.blocks is None and rule.vary is None:
        return None
    labels = [term.contender for term in claim.terms]
    if any(label not in results.labels for label in labels) or len(set(labels)) < 2:
        return None
    factors, metrics = [term.factor for term in claim.terms], {term.metric for term in claim.terms}
    if sorted(factors) == [-1, 1] and metrics in ({"test_acc"}, {"score"}):
        a, b = (labels[factors.index(sign)] for sign in (1, -1))
        return compare_by_design(results, a, b, results.values(a), results.values(b))
    if rule.pairing is Pairing.UNPAIRED and not metrics <= {"params", "flops"}:
        raise EvidenceError(
            f'"{claim.text}": the seeds of {" and ".join(labels)} are not paired, so only the difference of '
            "two contenders' test accuracy can be claimed; with --seeds paired, any."
        )
    return None


def measured_values(results: Results) -> dict[str, dict[str, Values]]:
    """What claims can be about, by contender and metric: exact numbers, and values by seed."""
    truth = results.examples.truth
    return {
        contender.label: {
            **(
                {"score": results.values(contender.label)}
                if results.measure is Measure.SCORES
                else {"test_acc": results.correct(contender.label)}
            ),
            "test_loss": {
                seed: -log_likelihood(run.probs, truth)
                for seed, run in contender.runs.items()
                if run.probs is not None
            },
            **_curves(contender.runs),
            **_costs(contender.runs),
        }
        for contender in results.contenders
    }


def _curves(runs: dict[int, Run]) -> dict[str, Values]:
    train_acc, val_acc, val_loss = (
        {seed: value for seed, run in runs.items() if (value := run.curve_at_end(curve)) is not None}
        for curve in ("train_acc", "val_acc", "val_loss")
    )
    gap = {seed: train_acc[seed] - accuracy for seed, accuracy in val_acc.items()}
    return {"val_acc": val_acc, "val_loss": val_loss, "gap": gap}


def _costs(runs: dict[int, Run]) -> dict[str, Values]:
    cost = next(iter(runs.values())).cost
    exact: dict[str, Values] = {} if cost is None else {"params": cost.params, "flops": cost.flops}
    timings = {seed: run.timing for seed, run in runs.items() if run.timing}
    return exact | {
        "train_seconds": {seed: timing.train_seconds for seed, timing in timings.items()},
        "images_per_second": {seed: timing.images_per_second for seed, timing in timings.items()},
    }


def _steps(results: Results) -> dict[str, float]:
    """An accuracy on so many validation images is a multiple of one in so many."""
    sizes = {
        len(run.val_truth)
        for contender in results.contenders
        for run in contender.runs.values()
        if run.val_truth is not None
    }
    step = 1 / max(sizes) if sizes else 0.0
    return {"val_acc": step, "gap": step}
