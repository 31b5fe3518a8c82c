"""Per class, mistakes, calibration and curves: against definitions written out, and invariants."""

import numpy as np
import pytest
from crossed_data import right_or_wrong
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.pair import compare_predictions
from tiebreak.evidence.compare.per_class import compare_classes, confusion
from tiebreak.evidence.compare.simultaneous import holm
from tiebreak.evidence.describe.calibration import (
    calibrate,
    error_by_chance,
    expected_error,
    fit_temperature,
    mean_loss,
    reliability,
    scale,
)
from tiebreak.evidence.describe.curves import find_overfitting
from tiebreak.evidence.describe.mistakes import find_mistakes, most_disputed, seed_disagreement
from tiebreak.evidence.describe.predictions import Predicted

SEEDS, IMAGES, CLASSES = 3, 80, 4


def predicted(number: int, seeds: tuple[int, ...] = (0, 1, 2), sharpness: float = 2.0) -> Predicted:
    """Predictions that are right more often than not; the truth is the same for every number."""
    truth = np.random.default_rng(0).integers(CLASSES, size=IMAGES)
    val_truth = np.random.default_rng(1).integers(CLASSES, size=(len(seeds), IMAGES))
    draws = np.random.default_rng(number + 2)

    def probs(labels: np.ndarray) -> np.ndarray:
        logits = draws.normal(size=(*labels.shape, CLASSES)) + np.eye(CLASSES)[labels]
        powers = np.exp(sharpness * logits)
        return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)

    return Predicted(
        label=f"model {number}",
        seeds=seeds,
        truth=truth,
        probs=probs(np.tile(truth, (len(seeds), 1))),
        val_truth=val_truth,
        val_probs=probs(val_truth),
    )


def test_each_class_is_the_comparison_of_its_own_images() -> None:
    a, b = predicted(0), predicted(1)
    entries = compare_classes(a, b, level=0.9)
    assert sorted(entry.label for entry in entries) == [0, 1, 2, 3]
    for entry in entries:
        here = a.truth == entry.label
        expected = compare_predictions(a.correct[:, here], b.correct[:, here], level=1 - 0.1 / 4)
        assert entry.comparison is not None
        assert entry.comparison.difference == pytest.approx(entry.accuracy_a - entry.accuracy_b)
        assert (entry.comparison.ci_low, entry.comparison.ci_high) == (expected.ci_low, expected.ci_high)
    raw = {entry.label: entry.comparison.p_value for entry in entries if entry.comparison}
    assert {entry.label: entry.p_adjusted for entry in entries} == holm(raw)
    differences = [entry.accuracy_a - entry.accuracy_b for entry in entries]
    assert differences == sorted(differences, reverse=True)


def with_answers(label: str, truth: np.ndarray, correct: np.ndarray) -> Predicted:
    """Predictions of ten classes that are right where they are told to be."""
    answers = np.where(correct, truth, (truth + 1) % 10)
    probs = np.eye(10, dtype=np.float32)[answers]
    return Predicted(
        label=label,
        seeds=tuple(range(len(correct))),
        truth=truth,
        probs=probs,
        val_truth=np.tile(truth[:1], (len(correct), 1)),
        val_probs=probs[:, :1],
    )


def test_two_equal_contenders_seldom_differ_in_any_class() -> None:
    """With an interval for each class alone, 30% of such pairs show a class that differs."""
    rng, truth = np.random.default_rng(0), np.arange(600) % 10
    differ, beyond_0 = [], []
    for _ in range(60):
        a, b = right_or_wrong(rng, (0.8, 0.8), 5, 600)
        found = compare_classes(with_answers("a", truth, a), with_answers("b", truth, b))
        differ.append(any(entry.differs for entry in found))
        beyond_0.append(
            any(e.comparison and not e.comparison.ci_low <= 0 <= e.comparison.ci_high for e in found)
        )
    assert np.mean(differ) <= 0.12
    assert np.mean(beyond_0) <= 0.12


def test_only_common_seeds_are_compared() -> None:
    a, b = predicted(0), predicted(1, seeds=(2, 7, 1))
    entry = compare_classes(a, b)[0]
    here = a.truth == entry.label
    assert entry.accuracy_a == pytest.approx(a.correct[1:][:, here].mean())
    assert entry.accuracy_b == pytest.approx(b.correct[[2, 0]][:, here].mean())
    with pytest.raises(EvidenceError, match="model 0 and model 1 have no finished seed in common"):
        compare_classes(a, predicted(1, seeds=(7, 8, 9)))


def test_a_class_with_one_image_has_no_interval() -> None:
    a = predicted(0)
    truth = np.where(np.arange(IMAGES) == 5, 0, np.maximum(a.truth, 1))
    lonely = [Predicted(**(vars(one) | {"truth": truth})) for one in (a, predicted(1))]
    entry = next(entry for entry in compare_classes(*lonely) if entry.label == 0)
    assert (entry.images, entry.comparison) == (1, None)


def test_confusion_counts_every_prediction() -> None:
    one = predicted(0)
    table = confusion(one)
    assert table.sum() == SEEDS * IMAGES
    assert np.trace(table) == one.correct.sum()
    assert table[1, 2] == ((one.truth == 1) & (one.classes == 2)).sum()


def test_mistakes_are_sorted_into_disjoint_lists() -> None:
    a, b = predicted(0), predicted(1)
    found = find_mistakes(a, b)
    often_a, often_b = a.correct.mean(axis=0), b.correct.mean(axis=0)
    assert set(found.only_a) == set(np.flatnonzero((often_a > 0.5) & (often_b < 0.5)))
    assert set(found.both_wrong) == set(np.flatnonzero((often_a == 0) & (often_b == 0)))
    leads = (often_a - often_b)[found.only_a]
    assert (np.diff(leads) <= 1e-9).all()
    swapped = find_mistakes(b, a)
    assert np.array_equal(swapped.only_b, found.only_a)
    shares = (found.share_both_right, found.share_only_a, found.share_only_b, found.share_both_wrong)
    assert sum(shares) == pytest.approx(1)
    assert found.share_both_right + found.share_only_a == pytest.approx(a.correct.mean())
    sure = (a.probs.max(axis=2).mean(axis=0) + b.probs.max(axis=2).mean(axis=0))[found.both_wrong]
    assert (np.diff(sure) <= 1e-6).all()


def test_disagreement_is_the_share_of_pairs_of_seeds() -> None:
    one = predicted(0)
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([one.classes[i] != one.classes[j] for i, j in pairs], axis=0)
    np.testing.assert_allclose(seed_disagreement(one), expected, atol=1e-12)
    assert set(most_disputed(one)) == set(np.flatnonzero(expected))
    assert len(most_disputed(predicted(0, seeds=(4,)))) == 0


@pytest.mark.parametrize(("images", "points"), [(359, 5.9), (2_000, 2.6)])
def test_a_perfectly_calibrated_model_has_the_error_of_chance(images: int, points: float) -> None:
    rng = np.random.default_rng(0)
    logits = 1.5 * rng.normal(size=(images, 10))
    probs = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    cumulated = probs.astype(np.float64).cumsum(axis=1)
    errors = []
    for _ in range(100):
        truth = (rng.random((images, 1)) > cumulated / cumulated[:, -1:]).sum(axis=1)
        errors.append(expected_error(reliability(probs, truth)))
    by_chance = error_by_chance(probs)
    assert by_chance == pytest.approx(np.mean(errors), rel=0.05)
    assert 100 * by_chance == pytest.approx(points, rel=0.3)
    assert error_by_chance(probs) == by_chance


def test_expected_calibration_error_as_defined() -> None:
    one = predicted(0)
    probs, truth = one.probs[0], one.truth
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == truth
    error = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    bins = reliability(probs, truth)
    assert expected_error(bins) == pytest.approx(error, abs=1e-6)
    assert sum(entry.share for entry in bins) == pytest.approx(1)


def test_certainty_falls_into_the_last_bin() -> None:
    sure = np.eye(3, dtype=np.float32)[[0, 1, 1]]
    (only,) = reliability(sure, np.array([0, 1, 2]))
    assert (only.low, only.high, only.confidence) == (pytest.approx(14 / 15), 1, 1)
    assert only.accuracy == pytest.approx(2 / 3)
    assert 1 / 20 <= fit_temperature(sure, np.array([0, 1, 1])) <= 20, "zeros are no obstacle"


@given(st.floats(0.3, 4))
def test_a_known_temperature_is_found(temperature: float) -> None:
    draws = np.random.default_rng(3)
    logits = draws.normal(size=(4000, CLASSES)) * 2
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (honest.cumsum(axis=1) > draws.random((4000, 1))).argmax(axis=1)
    probs = scale(honest.astype(np.float32), 1 / temperature).astype(np.float32)
    fitted = fit_temperature(probs, truth)
    assert fitted == pytest.approx(temperature, rel=0.15)
    assert mean_loss(scale(probs, fitted), truth) <= mean_loss(probs, truth) + 1e-6
    np.testing.assert_allclose(scale(probs, temperature), honest, atol=2e-3)


def test_scaling_mends_a_model_that_is_too_sure() -> None:
    found = calibrate(predicted(0, sharpness=6.0))
    assert found.temperature.mean > 2
    assert found.ece_scaled.mean < found.ece.mean
    assert found.loss_scaled.mean < found.loss.mean


def history(train: list[float], val: list[float]) -> dict[str, list[float]]:
    return {
        "train_loss": train,
        "train_acc": [1 - x / 4 for x in train],
        "val_loss": val,
        "val_acc": [0.5] * len(val),
    }


def test_overfitting_is_where_validation_loss_turns_up() -> None:
    found = find_overfitting([history([2, 1, 0.5], [1, 0.8, 1.2]), history([2, 1, 0.4], [1, 0.9, 1.0])])
    assert found is not None
    assert found.epoch == 2
    assert (found.val_loss_best, found.val_loss_last) == (pytest.approx(0.85), pytest.approx(1.1))
    assert found.gap_best == pytest.approx(0.25)
    assert found.gap_last == pytest.approx(0.3875)


@pytest.mark.parametrize(
    "runs",
    [
        [history([2, 1, 0.5], [1, 0.9, 0.8])],  # still falling
        [history([2, 1, 1.5], [1, 0.8, 1.2])],  # training itself went wrong
        [history([2, 1, 0.5], [1, 0.8, 1.2]), history([2, 1, 0.5], [1, 0.8, 0.79])],  # not in every seed
        [history([2], [1])],
    ],
)
def test_no_overfitting_without_a_turn_in_every_seed(runs: list[dict[str, list[float]]]) -> None:
    assert find_overfitting(runs) is None


def test_runs_that_stop_early_are_compared_up_to_the_first_stop() -> None:
    long, short = history([2, 1, 0.5, 0.3], [1, 0.8, 1.2, 0.1]), history([2, 1, 0.4], [1, 0.9, 1.0])
    assert find_overfitting([long, short]) == find_overfitting([history([2, 1, 0.5], [1, 0.8, 1.2]), short])


def test_curves_need_a_run() -> None:
    with pytest.raises(EvidenceError, match="at least 1 finished run, got 0"):
        find_overfitting([])
