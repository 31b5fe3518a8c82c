"""The statistics behind an explanation, held against simulated truths and against formulas worked by hand."""

import re

import numpy as np
import pytest
import scipy.stats
from crossed_data import right_or_wrong

from tiebreak.actions.time_budget import parse_budget, pick
from tiebreak.errors import StudyError
from tiebreak.evidence.compare.pair import compare_scores
from tiebreak.evidence.describe.quality import spread
from tiebreak.evidence.why.efficiency import DataCurve, DataPoint, equivalent_images, first_crossing
from tiebreak.evidence.why.explanation_text import (
    arrangement_sentences,
    data_sentences,
    ladder_sentences,
    lead_text,
    self_check_sentence,
)
from tiebreak.evidence.why.robustness import distortion_texts
from tiebreak.evidence.why.spatial import (
    Arrangement,
    CheckResult,
    Ladder,
    Rung,
    SelfCheck,
    Step,
    share_of_lead,
)
from tiebreak.results.run import Cost
from tiebreak.study.plan import Contender, parse_contender
from tiebreak.study.questions import (
    Ingredient,
    Question,
    at_fraction,
    blind_model,
    control_ladder,
    ladder,
    needed_contenders,
    parse_questions,
)
from tiebreak.training.recipe.recipe import Recipe

MLP, CNN = (parse_contender(text, Recipe()) for text in ("mlp", "cnn"))
COST = Cost(params=1, flops=1, bytes=4)


def correct(accuracy: float, seed: int, seeds: int = 4, examples: int = 2_000) -> np.ndarray:
    """Independent test images, each right with one probability."""
    return (np.random.default_rng(seed).random((seeds, examples)) < accuracy).astype(np.float64)


def arrangement(lead: np.ndarray, lead_permuted: np.ndarray, change: np.ndarray | None = None) -> Arrangement:
    unchanged = np.zeros_like(lead) if change is None else change
    return Arrangement(
        a="mlp",
        b="cnn",
        accuracy={},
        lead=compare_scores(lead, bound=1.0),
        lead_permuted=compare_scores(lead_permuted, bound=1.0),
        difference=compare_scores(lead - lead_permuted, bound=2.0),
        share=share_of_lead(lead, lead_permuted, 0.95),
        self_check=SelfCheck(label="mlp", change=compare_scores(unchanged, bound=1.0, level=0.99)),
    )


def test_the_share_of_the_lead_is_a_ratio_with_fiellers_interval() -> None:
    lead = correct(0.7, 1) - correct(0.5, 2)
    permuted = correct(0.52, 3) - correct(0.5, 4)
    share = share_of_lead(lead, permuted, 0.95)
    assert share is not None and share.ci_low is not None and share.ci_high is not None
    assert share.value == pytest.approx(1 - permuted.mean() / lead.mean())
    assert share.ci_low < share.value < share.ci_high
    for end in (share.ci_low, share.ci_high):
        contrast = compare_scores((1 - end) * lead - permuted, bound=1 + abs(1 - end))
        assert min(abs(contrast.ci_low), abs(contrast.ci_high)) < 1e-4


def test_the_shares_interval_is_near_fiellers_formula_where_only_images_vary() -> None:
    """With many images and identical seeds, the textbook formula for a ratio of two means."""
    lead = np.repeat(
        correct(0.7, 1, seeds=1, examples=20_000) - correct(0.5, 2, seeds=1, examples=20_000), 3, 0
    )
    permuted = np.repeat(
        correct(0.6, 3, seeds=1, examples=20_000) - correct(0.5, 4, seeds=1, examples=20_000), 3, 0
    )
    share = share_of_lead(lead, permuted, 0.95)
    top, below = (lead - permuted)[0], lead[0]
    z, m = scipy.stats.norm.ppf(0.975), len(below)
    cov = np.cov(top, below) / m
    g = z**2 * cov[1, 1] / below.mean() ** 2
    ratio = top.mean() / below.mean()
    centre = ratio - g * cov[0, 1] / cov[1, 1]
    inner = (
        cov[0, 0]
        - 2 * ratio * cov[0, 1]
        + ratio**2 * cov[1, 1]
        - g * (cov[0, 0] - cov[0, 1] ** 2 / cov[1, 1])
    )
    reach = z / abs(below.mean()) * np.sqrt(inner)
    assert share is not None
    assert share.ci_low == pytest.approx((centre - reach) / (1 - g), abs=2e-3)
    assert share.ci_high == pytest.approx((centre + reach) / (1 - g), abs=2e-3)


def test_the_share_of_a_negative_lead_has_its_ends_in_order() -> None:
    lead, permuted = correct(0.5, 1) - correct(0.7, 2), correct(0.5, 3) - correct(0.52, 4)
    share = share_of_lead(lead, permuted, 0.95)
    assert share is not None and share.ci_low is not None and share.ci_high is not None
    assert share.ci_low < share.value < share.ci_high


def test_no_share_is_given_of_a_lead_that_may_be_nothing() -> None:
    answer = arrangement(correct(0.5, 1) - correct(0.5, 2), correct(0.5, 3) - correct(0.5, 4))
    assert answer.share is None
    text = " ".join(arrangement_sentences(answer))
    assert "it is inconclusive whether cnn leads mlp" in text
    assert "Inconclusive: permuting the pixels changes the lead by" in text
    assert "no advantage from the arrangement is claimed" in text


def test_a_lead_that_vanishes_is_said_to_come_from_the_arrangement() -> None:
    answer = arrangement(correct(0.7, 1) - correct(0.5, 2), correct(0.5, 3) - correct(0.5, 4))
    text = " ".join(arrangement_sentences(answer))
    assert re.search(r"cnn leads mlp by \d+\.\d points \(95% CI \d+\.\d to \d+\.\d\)", text)
    assert re.search(r"The arrangement of the pixels is worth .* of it \(95% CI \d+% to \d+%\)", text)
    assert "Self-check passed: mlp" in text and "nconclusive: permuting" not in text


def self_check(change: np.ndarray) -> SelfCheck:
    return SelfCheck(label="mlp", change=compare_scores(change, bound=1.0, level=0.99))


def test_a_flat_model_that_moves_fails_the_self_check() -> None:
    check = self_check(correct(0.6, 1) - correct(0.5, 2))
    assert check.result is CheckResult.FAILED
    assert self_check_sentence(check).startswith("SELF-CHECK FAILED: mlp")
    assert "do not rely on this answer" in self_check_sentence(check)


def test_a_self_check_that_could_hardly_fail_says_so() -> None:
    check = self_check(np.repeat([[0.2], [-0.2]], 2_000, axis=1))
    assert check.result is CheckResult.OPEN
    assert "a change of 2 points is not excluded" in self_check_sentence(check)


def test_one_seed_neither_passes_nor_fails_the_self_check() -> None:
    assert self_check(np.zeros((1, 20_000))).result is CheckResult.OPEN
    assert self_check(correct(0.6, 1, seeds=1) - correct(0.5, 2, seeds=1)).result is CheckResult.OPEN


def test_a_self_check_seldom_passes_where_accuracy_truly_moved_by_its_margin() -> None:
    """An interval that only has to hold 0 lets half of such faults pass."""
    rng, passed, alike = np.random.default_rng(0), [], []
    for _ in range(200):
        plain, moved, same = right_or_wrong(rng, (0.8, 0.78, 0.8), 4, 1_500, luck=0.01, taste=0.0)
        passed.append(self_check(moved.astype(float) - plain).result is CheckResult.PASSED)
        alike.append(self_check(same.astype(float) - plain).result)
    assert np.mean(passed) <= 0.08
    assert np.mean([result is CheckResult.PASSED for result in alike]) >= 0.5
    assert np.mean([result is CheckResult.FAILED for result in alike]) <= 0.03


def test_two_seeds_are_said_to_be_too_few() -> None:
    answer = arrangement(correct(0.7, 1, seeds=2) - correct(0.5, 2, seeds=2), np.zeros((2, 2_000)))
    assert arrangement_sentences(answer)[-1].endswith("so these intervals are wide: train a third.")


def test_one_seed_is_said_to_speak_of_its_checkpoints_only() -> None:
    answer = arrangement(correct(0.7, 1, seeds=1) - correct(0.5, 2, seeds=1), np.zeros((1, 2_000)))
    assert (
        "With one seed, these intervals speak of these checkpoints only" in arrangement_sentences(answer)[-1]
    )


def test_a_step_that_may_bring_nothing_is_called_inconclusive() -> None:
    gains = [correct(0.7, 1) - correct(0.5, 2), correct(0.5, 3) - correct(0.5, 4)]
    steps = tuple(
        Step(start=start, end=end, ingredient=ingredient, gain=compare_scores(gain, bound=1.0))
        for (start, end, ingredient), gain in zip(
            [("mlp", "local", Ingredient.LOCALITY), ("local", "cnn", Ingredient.SHARING)], gains, strict=True
        )
    )
    rungs = tuple(
        Rung(label=label, accuracy=spread([0.5, 0.6]), cost=COST) for label in ("mlp", "local", "cnn")
    )
    sentence = ladder_sentences(Ladder(rungs=rungs, steps=steps, lead=compare_scores(gains[0], bound=1.0)))[0]
    locality, sharing = sentence.split(";")[:2]
    assert "inconclusive" not in locality and "locality (mlp -> local) +" in locality
    assert "inconclusive" in sharing


def test_a_model_that_is_behind_is_said_to_be_behind() -> None:
    lead = compare_scores(correct(0.5, 1) - correct(0.7, 2), bound=1.0)
    assert re.fullmatch(
        r"cnn is behind mlp by \d+\.\d points \(95% CI \d+\.\d to \d+\.\d\)", lead_text(lead, "mlp", "cnn")
    )


def test_questions_share_what_they_need() -> None:
    labels = [
        contender.label for contender in needed_contenders(parse_questions("ladder,arrangement"), MLP, CNN)
    ]
    assert labels == ["mlp", "cnn", "mlp@permute-pixels", "cnn@permute-pixels", "local"]
    every = needed_contenders(Question, MLP, CNN)
    assert len({contender.label for contender in every}) == len(every) == 5 + 1 + 2 + 10


def test_a_ladder_uses_the_arguments_of_the_cnn_and_ends_at_any_other_model() -> None:
    wide = parse_contender("wide=cnn(width=64)@grayscale", Recipe())
    assert [rung.label for _, rung in ladder(MLP, wide)] == ["mlp", "local(width=64)@grayscale", "wide"]
    other = Contender(label="net", model="nets.py:net")
    assert [ingredient for ingredient, _ in ladder(MLP, other)][1:] == [
        Ingredient.LOCALITY,
        Ingredient.SHARING,
        Ingredient.REST,
    ]
    assert [rung.model for _, rung in control_ladder(MLP, wide)][1] == "cnn-shuffled-taps(width=64)"


def test_the_self_check_needs_a_model_without_an_eye_for_order() -> None:
    local = parse_contender("local", Recipe())
    assert blind_model(MLP, CNN) == MLP and blind_model(CNN, MLP) == MLP
    assert blind_model(local, CNN).label == "mlp"
    labels = [contender.label for contender in needed_contenders([Question.ARRANGEMENT], local, CNN)]
    assert "mlp@permute-pixels" in labels


def test_fewer_images_are_shown_more_often_so_that_steps_stay() -> None:
    few = at_fraction(CNN, 1 / 8)
    assert (few.train_fraction, few.recipe.epochs, few.label) == (1 / 8, 8 * CNN.recipe.epochs, "cnn on 1/8")
    assert at_fraction(CNN, 1.0) is CNN


@pytest.mark.parametrize("text", ["arrangment", "", "ladder,taps"])
def test_an_unknown_question_is_refused(text: str) -> None:
    with pytest.raises(StudyError, match="--ask: unknown question"):
        parse_questions(text)


def test_crossings_lie_on_the_line_in_the_logarithm() -> None:
    assert first_crossing([100, 400], [-0.1, 0.1]) == pytest.approx(200)
    assert first_crossing([100, 400, 1600], [-0.3, -0.1, 0.1]) == pytest.approx(800)
    assert first_crossing([100, 400], [0.1, 0.2]) is None
    assert first_crossing([100, 400], [-0.2, -0.1]) is None


def curve(of_a: list[np.ndarray], of_b: list[np.ndarray], level: float = 0.95) -> DataCurve:
    images = [100, 200, 400]
    points = tuple(
        DataPoint(
            images=number,
            epochs=1,
            accuracy_a=spread(list(a.mean(axis=1))),
            accuracy_b=spread(list(b.mean(axis=1))),
            lead=compare_scores(b - a, bound=1.0, level=level),
        )
        for number, a, b in zip(images, of_a, of_b, strict=True)
    )
    equivalents = tuple(
        equivalent_images(n, b, images, of_a, level) for n, b in zip(images, of_b, strict=True)
    )
    return DataCurve(a="mlp", b="cnn", points=points, equivalents=equivalents)


def test_what_lies_outside_the_data_curve_is_claimed_only_where_it_is_sure() -> None:
    falls_short = curve([correct(p, 10 + k) for k, p in enumerate((0.5, 0.55, 0.6))], [correct(0.8, 20)] * 3)
    text = " ".join(data_sentences(falls_short))
    assert "What cnn reaches with 100 images, mlp does not reach with 400." in text
    ahead = curve([correct(p, 10 + k) for k, p in enumerate((0.7, 0.75, 0.8))], [correct(0.5, 20)] * 3)
    assert "mlp reaches with fewer than 100." in " ".join(data_sentences(ahead))


def test_two_equal_contenders_are_seldom_told_apart_by_the_data_curve() -> None:
    """With bare means, 71% of such studies said that one does not reach the other, or with fewer images."""
    rng, claimed = np.random.default_rng(0), []
    for _ in range(40):
        draws = [right_or_wrong(rng, (p, p), 3, 400) for p in (0.6, 0.65, 0.7)]
        of_a, of_b = ([pair[side].astype(float) for pair in draws] for side in (0, 1))
        # At the two ends the other contender has the very same accuracy.
        least, most = (equivalent_images(1, of_b[k], [1, 2, 3], of_a, 0.9) for k in (0, -1))
        claimed.append(least.fewer or most.more)
    assert np.mean(claimed) <= 0.15
    text = " ".join(data_sentences(curve(of_a, of_b, level=0.9)))
    assert "90% CI" in text and "95% CI" not in text


def test_equivalent_images_are_found_with_an_interval() -> None:
    of_a = [correct(accuracy, seed) for seed, accuracy in enumerate((0.4, 0.5, 0.6, 0.7))]
    found = equivalent_images(100, correct(0.55, 9), [100, 200, 400, 800], of_a, 0.95)
    assert found.images_a is not None and found.ci_low is not None and found.ci_high is not None
    assert 200 < found.ci_low < found.images_a < found.ci_high < 400


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400)])
def test_a_budget_is_read(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "0m", "ten minutes", "5m3"])
def test_a_budget_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(StudyError, match="--budget must be a time such as 90s, 10m or 1h30m"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("budget", "seeds", "epochs"),
    [
        (100_000.0, 10, 5),  # everything fits: no more than ten seeds
        (700.0, 6, 5),  # 105 s a seed, 630 s to use
        (200.0, 3, 2),  # three seeds, but not all epochs
        (100.0, 3, 1),
        (50.0, 1, 2),  # 45 s: not even one epoch of three seeds
        (1.0, 1, 1),
    ],
)
def test_a_budget_buys_seeds_first_and_epochs_last(budget: float, seeds: int, epochs: int) -> None:
    chosen = pick(budget, an_epoch=20.0, once=5.0, epochs=5)
    assert (chosen.seeds, chosen.epochs) == (seeds, epochs)
    assert chosen.expected_seconds == seeds * (epochs * 20 + 5)
    assert ("which is over it" in str(chosen)) == (budget == 1)


def test_distances_are_scaled_to_the_image() -> None:
    assert [text for text in distortion_texts(32) if text.startswith("shift")] == [
        f"shift({n})" for n in (1, 2, 4, 8)
    ]
    assert [text for text in distortion_texts(8) if text.startswith("shift")] == ["shift(1)", "shift(2)"]
