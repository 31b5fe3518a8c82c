"""What is said, and when: outcomes, next steps, and the words of the sentence."""

import dataclasses
import json
import re

import numpy as np
import pytest
import scipy.stats
from crossed_data import right_or_wrong
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Comparison, at_level, interval_at
from tiebreak.evidence.compare.interval import Part
from tiebreak.evidence.compare.pair import compare_predictions, compare_runs, compare_scores, compare_unpaired
from tiebreak.evidence.compare.sentence import sentence
from tiebreak.evidence.compare.verdict import Need, Outcome, Verdict, judge


def compare(
    a: float, b: float, *, seeds: int = 5, examples: int = 10_000, seed: int = 0, luck: float = 0.02
) -> Comparison:
    return compare_predictions(
        *right_or_wrong(np.random.default_rng(seed), (a, b), seeds, examples, luck=luck)
    )


def test_a_clear_difference() -> None:
    verdict = judge(compare(0.7, 0.5))
    assert verdict.outcome is Outcome.A_BETTER
    text = sentence(verdict, "cnn", "mlp")
    pattern = (
        r"cnn beats mlp by (\d+\.\d) points "
        r"\(95% CI (\d+\.\d) to (\d+\.\d); 5 paired seeds, 10,000 test images\)\."
    )
    found = re.fullmatch(pattern, text)
    assert found, text
    shown = [float(number) / 100 for number in found.groups()]
    held = verdict.comparison
    assert shown == pytest.approx([held.difference, held.ci_low, held.ci_high], abs=0.0005)


def test_the_other_way_round_the_sentence_is_the_same() -> None:
    a, b = right_or_wrong(np.random.default_rng(0), (0.7, 0.5), 5, 1_000)
    one, other = judge(compare_predictions(a, b)), judge(compare_predictions(b, a))
    assert other.outcome is Outcome.B_BETTER
    assert sentence(other, "mlp", "cnn") == sentence(one, "cnn", "mlp")


def test_the_level_said_is_the_level_of_the_interval() -> None:
    comparison = at_level(compare(0.7, 0.5), 0.99)
    assert "(99% CI " in sentence(judge(comparison), "cnn", "mlp")
    assert judge(comparison).outcome is Outcome.A_BETTER


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(0.002, 0.05), st.sampled_from([0.8, 0.9, 0.95]))
def test_outcomes_follow_the_table_of_intervals(seed: int, margin: float, level: float) -> None:
    comparison = at_level(compare(0.90, 0.89, seeds=4, examples=1_500, seed=seed), level)
    verdict = judge(comparison, equivalence=margin)
    low, high = interval_at(comparison, 1 - 2 * (1 - level))
    inside = -margin < low and high < margin
    if comparison.ci_low > 0:
        expected = Outcome.A_BETTER
    elif comparison.ci_high < 0:
        expected = Outcome.B_BETTER
    else:
        expected = Outcome.EQUIVALENT if inside else Outcome.UNDECIDED
    assert verdict.outcome is expected
    assert verdict.negligible is (inside and expected in (Outcome.A_BETTER, Outcome.B_BETTER))
    assert verdict.relevant is (comparison.ci_low >= margin or comparison.ci_high <= -margin)


def test_equivalent_and_the_interval_that_says_so() -> None:
    verdict = judge(compare(0.9, 0.9, seeds=10), equivalence=0.01)
    assert verdict.outcome is Outcome.EQUIVALENT
    text = sentence(verdict, "cnn", "resnet")
    assert re.match(
        r"cnn and resnet are equivalent within 1 point: \w+ leads by 0\.\d+ points \(90% CI ", text
    )


def test_better_but_negligible() -> None:
    verdict = judge(compare(0.9, 0.895, seeds=10), equivalence=0.03)
    assert (verdict.outcome, verdict.negligible, verdict.relevant) == (Outcome.A_BETTER, True, False)
    assert "but negligibly: within 3 points (90% CI " in sentence(verdict, "cnn", "mlp")


def test_one_seed_is_never_decided() -> None:
    verdict = judge(compare(0.9, 0.3, seeds=1), equivalence=0.9)
    assert verdict.outcome is Outcome.UNDECIDED
    assert (verdict.next_step.need, verdict.next_step.total) == (Need.MORE_SEEDS, 3)
    text = sentence(verdict, "cnn", "mlp")
    assert text.startswith("undecided: with one seed, cnn leads mlp by ")
    assert "for these two checkpoints; 1 seed, 10,000 test images)" in text
    assert "(p < 0.001)" in text
    assert text.endswith("Train at least 3 seeds.")


def test_two_seeds_ask_for_a_third() -> None:
    verdict = judge(compare(0.9, 0.895, seeds=2))
    assert verdict.outcome is Outcome.UNDECIDED
    assert "Train a third seed" in sentence(verdict, "cnn", "mlp")


def crossed(difference: float, seed_variance: float, test_variance: float, n: int = 5) -> Comparison:
    """A comparison with known parts, made from one of the right shape."""
    base = compare(0.9, 0.9, seeds=n)
    draft = dataclasses.replace(
        base,
        difference=difference,
        centre=difference,
        seed_variance=seed_variance,
        test_variance=test_variance,
        parts=(Part(variance=seed_variance, df=n - 1), Part(variance=test_variance, df=9_999)),
        p_value=0.5,
    )
    return at_level(draft, 0.95)


def test_undecided_for_want_of_seeds_names_a_number_and_its_chance() -> None:
    verdict = judge(crossed(0.005, 1e-5, 1e-7))
    step = verdict.next_step
    assert step.need is Need.MORE_SEEDS
    # d_N ~ d + t(4) s sqrt(1/5 - 1/N), s^2 = 5e-5, against t(N - 1)^2 s^2 / N + t(9,999)^2 B
    for seeds, enough in ((step.total, True), (step.total - 1, False)):
        t = scipy.stats.t
        half = np.hypot(t.isf(0.025, seeds - 1) * np.sqrt(5e-5 / seeds), t.isf(0.025, 9_999) * np.sqrt(1e-7))
        scale = np.sqrt(5e-5 * (1 / 5 - 1 / seeds))
        chance = t.sf((half - 0.005) / scale, 4) + t.cdf((-half - 0.005) / scale, 4)
        assert bool(chance >= 0.8) is enough
        if enough:
            assert step.chance == pytest.approx(chance, rel=1e-9)
    text = sentence(verdict, "cnn", "mlp")
    told = f"About {step.total} seeds in all on these test images would decide it with a chance of about 80%."
    assert text.endswith(told)


def test_undecided_for_want_of_images_says_how_little_seeds_help() -> None:
    verdict = judge(crossed(0.005, 1e-7, 1e-5))
    # m' = m c B / (d^2 - c A) with two digits
    assert verdict.next_step.need is Need.MORE_IMAGES
    assert verdict.next_step.total == 33_000
    assert sentence(verdict, "cnn", "mlp").endswith(
        "Even with 50 seeds in all on these test images, the chance to decide it is under 1%; if the true "
        "difference is near this, about 33,000 test images probably would."
    )


def test_level_contenders_are_told_to_declare_a_margin() -> None:
    verdict = judge(crossed(0.0, 1e-6, 1e-6))
    assert verdict.next_step.need is Need.A_MARGIN
    text = sentence(verdict, "cnn", "mlp")
    assert text.startswith("undecided: cnn and mlp are level (95% CI -0.")
    assert "declare an equivalence margin" in text
    with_margin = judge(crossed(0.0, 3e-5, 1e-6), equivalence=0.0115)
    assert with_margin.next_step.need is Need.MORE_SEEDS
    assert with_margin.next_step.chance is not None and 0.8 <= with_margin.next_step.chance < 0.82


def test_an_adjusted_p_value_decides_and_is_shown() -> None:
    comparison = compare(0.9, 0.87, seeds=3)
    assert judge(comparison).outcome is Outcome.A_BETTER
    verdict = judge(comparison, p_adjusted=0.2, n_comparisons=10)
    assert verdict.outcome is Outcome.UNDECIDED
    assert "for this pair alone, p = 0.2 adjusted for 10 comparisons" in sentence(verdict, "cnn", "mlp")


def test_the_sentence_owns_up() -> None:
    a, b = right_or_wrong(np.random.default_rng(0), (0.9, 0.7), 5, 1_000)
    runs = {s: a[s] for s in range(5)}, {s: b[s] for s in (0, 1, 2)}
    assert "seeds 3, 4 missing from one of them" in sentence(judge(compare_runs(*runs)), "cnn", "mlp")
    assert "unpaired seeds" in sentence(judge(compare_unpaired(a, b)), "cnn", "mlp")
    assert "on this fixed test set" in sentence(
        judge(compare_predictions(a, b, fixed_test_set=True)), "x", "y"
    )
    groups = np.arange(1_000) // 4
    assert "1,000 test images in 250 groups" in sentence(
        judge(compare_predictions(a, b, groups=groups)), "x", "y"
    )
    b[2] = False
    text = sentence(judge(compare_predictions(a, b)), "cnn", "mlp")
    assert re.search(r"Seed 2 of mlp collapsed \(0\.0% against a median of \d\d\.\d%\)\.$", text)


def test_a_loss_has_its_own_unit() -> None:
    scores = np.random.default_rng(0).normal(0.5, 0.1, (5, 1_000))
    text = sentence(judge(compare_scores(scores, bound=None)), "cnn", "mlp", unit="nats", scale=1.0)
    assert re.match(r"cnn beats mlp by 0\.\d+ nats \(95% CI 0\.4\d+ to 0\.5\d+; ", text)


def test_a_verdict_survives_json() -> None:
    verdict = judge(compare(0.9, 0.89, seeds=3), equivalence=0.01)
    text = json.dumps(dataclasses.asdict(verdict), allow_nan=False)
    assert TypeAdapter(Verdict).validate_json(text) == verdict


def test_a_margin_must_be_positive() -> None:
    with pytest.raises(EvidenceError, match=r"must be above 0 \(0\.01 is one point\), got -1"):
        judge(compare(0.9, 0.8), equivalence=-1.0)


def test_seeds_as_likely_as_not_are_named_with_their_chance() -> None:
    """Before anything is said to be out of reach: ten times the seeds, and how likely they are to do it."""
    verdict = judge(crossed(0.004, 1e-5, 1e-7))
    assert verdict.next_step.need is Need.MORE_SEEDS
    assert verdict.next_step.total == 50
    assert 0.5 <= (verdict.next_step.chance or 0) < 0.8
    assert "About 50 seeds in all on these test images would decide it" in sentence(verdict, "cnn", "mlp")
