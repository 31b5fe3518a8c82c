"""Which interval a pair allows: against SciPy, the plain formulas, and invariances."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tiebreak.actions.judge_files import make_reading, results_of_arrays
from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.comparison import Method
from tiebreak.evidence.compare.designs import compare_folds, compare_samples
from tiebreak.evidence.compare.judgement import judge_study
from tiebreak.evidence.compare.pair import compare_predictions, compare_scores, compare_unpaired
from tiebreak.evidence.compare.quantities import compare_quantity


def correct(share, seeds, images, seed=0):
    return np.random.default_rng([seed, int(1000 * share)]).random((seeds, images)) < share


def judged(what, labels=None, **settings):
    (told,) = results_of_arrays(what, labels, make_reading(settings))
    return judge_study(told.results)


def frame(rows, groups=None):
    import polars as pl

    seeds, images = rows.shape
    columns = {
        "run": np.repeat(np.arange(seeds), images),
        "id": np.tile(np.arange(images), seeds),
        "score" if rows.dtype.kind == "f" else "ok": rows.ravel(),
    }
    if groups is not None:
        columns["patient"] = np.tile(groups, seeds)
    return pl.DataFrame(columns)


def test_seeds_are_unpaired_unless_said_otherwise():
    a, b = correct(0.8, 4, 500), correct(0.7, 4, 500)
    (unpaired,) = judged({"a": a, "b": b}).judgements
    (paired,) = judged({"a": a, "b": b}, seeds="paired").judgements
    assert unpaired.verdict.comparison == compare_unpaired(a, b)
    assert paired.verdict.comparison.method is Method.CROSSED
    expected = compare_predictions(a, b)
    assert (paired.verdict.comparison.ci_low, paired.verdict.comparison.p_value) == (
        expected.ci_low,
        expected.p_value,
    )
    assert "4 unpaired seeds, 500 test images" in unpaired.sentence


def test_unequal_numbers_of_seeds_are_compared_as_unpaired():
    a, b = correct(0.8, 5, 500), correct(0.7, 3, 500)
    (judgement,) = judged({"a": a, "b": b}).judgements
    assert judgement.verdict.comparison == compare_unpaired(a, b)


def test_one_seed_each_is_mcnemar_and_decides_nothing_unless_checkpoints_are_asked_about():
    a, b = correct(0.8, 1, 500), correct(0.6, 1, 500)
    wins, losses = int((a & ~b).sum()), int((b & ~a).sum())
    p = stats.binomtest(wins, wins + losses).pvalue
    (judgement,) = judged({"a": a, "b": b}).judgements
    assert judgement.verdict.comparison.p_value == pytest.approx(p, rel=1e-12)
    assert judgement.verdict.outcome.value == "undecided"
    (asked,) = judged({"a": a, "b": b}, checkpoints=True).judgements
    assert asked.verdict.comparison.p_value == pytest.approx(p, rel=1e-12)
    assert asked.verdict.outcome.value == "a better"
    assert "for these two checkpoints" in asked.sentence
    assert asked.sentence.endswith("This says nothing about other seeds.")


def test_scores_are_judged_as_losses_are():
    rng = np.random.default_rng(1)
    a, b = rng.normal(1.0, 1, (4, 300)), rng.normal(0.5, 1, (4, 300))
    (judgement,) = judged({"a": frame(a), "b": frame(b)}, seeds="paired").judgements
    expected = compare_scores(a - b, bound=None)
    assert judgement.verdict.comparison.ci_low == expected.ci_low
    assert judgement.verdict.comparison.p_value == expected.p_value
    assert "of score" in judgement.sentence
    assert "points" not in judgement.sentence
    (lower,) = judged({"a": frame(a), "b": frame(b)}, seeds="paired", lower_is_better=True).judgements
    assert (lower.a, lower.b) == ("b", "a")
    assert lower.verdict.comparison.difference == pytest.approx(judgement.verdict.comparison.difference)


@pytest.mark.parametrize("seeds", ["paired", "unpaired"])
@pytest.mark.parametrize("scored", [False, True])
def test_copies_of_an_image_in_one_group_add_nothing(seeds, scored):
    rng = np.random.default_rng(2)
    rows = {name: rng.random((4, 60)) < share for name, share in (("a", 0.8), ("b", 0.6))}
    if scored:
        rows = {n: row + rng.normal(size=row.shape) + 2 * rng.normal(size=60) for n, row in rows.items()}
    groups = np.arange(60)
    copies = {name: np.tile(row, (1, 3)) for name, row in rows.items()}
    grouped = {name: frame(row, np.tile(groups, 3)) for name, row in copies.items()}
    alone = {name: frame(row, groups) for name, row in rows.items()}
    (once,) = judged(alone, seeds=seeds, groups="patient").judgements
    (thrice,) = judged(grouped, seeds=seeds, groups="patient").judgements
    (naive,) = judged(
        copies if not scored else {n: frame(r) for n, r in copies.items()}, seeds=seeds
    ).judgements
    one, three = once.verdict.comparison, thrice.verdict.comparison
    assert (three.ci_low, three.ci_high) == pytest.approx((one.ci_low, one.ci_high), rel=1e-6)
    assert three.n_groups == 60
    assert "180 test images in 60 groups" in thrice.sentence
    assert naive.verdict.comparison.test_variance < 0.5 * three.test_variance


def test_different_images_are_two_independent_samples():
    a, b = correct(0.8, 1, 400)[0].astype(float), correct(0.7, 1, 300)[0].astype(float)
    found = compare_samples({0: a}, {0: b})
    # Agresti and Caffo's interval has a success and a failure more in each sample.
    errors = sum(p * (1 - p) / (len(x) + 2) for x in (a, b) for p in [(x.sum() + 1) / (len(x) + 2)])
    assert found.test_variance == pytest.approx(errors, rel=0.02)
    assert found.method is Method.ONE_SEED
    several = compare_samples(
        dict(enumerate(correct(0.8, 3, 400).astype(float))),
        dict(enumerate(correct(0.7, 5, 300).astype(float))),
    )
    assert several.method is Method.UNPAIRED
    assert several.seed_variance is not None


def test_files_about_different_images_are_told_apart():
    import polars as pl

    frames = {
        name: pl.DataFrame(
            {
                "run": np.repeat(np.arange(3), 200),
                "id": np.tile([f"{name}{n}" for n in range(200)], 3),
                "ok": correct(share, 3, 200).ravel(),
            }
        )
        for name, share in (("a", 0.9), ("b", 0.6))
    }
    found = judged(frames)
    assert found.judgements[0].verdict.outcome.value == "a better"
    assert any("different examples" in note for note in found.notes)


def test_folds_are_corrected_as_nadeau_and_bengio_do():
    rng = np.random.default_rng(4)
    repeats, folds, images = 2, 5, 100
    rows = {
        name: (rng.random((repeats, images)) < share).astype(float)
        for name, share in (("a", 0.85), ("b", 0.7))
    }
    fold_of = {repeat: rng.permutation(np.arange(images) % folds) for repeat in range(repeats)}
    found = compare_folds(*({r: rows[name][r] for r in range(repeats)} for name in "ab"), fold_of)
    differences = np.array(
        [
            (rows["a"][r] - rows["b"][r])[fold_of[r] == fold].mean()
            for r in range(repeats)
            for fold in range(folds)
        ]
    )
    count = repeats * folds
    error = np.sqrt((1 / count + 1 / (folds - 1)) * differences.var(ddof=1))
    assert found.difference == pytest.approx(differences.mean())
    assert found.p_value == pytest.approx(2 * stats.t.sf(differences.mean() / error, count - 1), rel=1e-9)
    assert found.ci_high == pytest.approx(differences.mean() + stats.t.ppf(0.975, count - 1) * error)
    assert found.method is Method.FOLDS
    with pytest.raises(EvidenceError, match="at least 2 folds"):
        compare_folds({0: rows["a"][0]}, {0: rows["b"][0]}, {0: np.zeros(images, dtype=np.int64)})


def test_the_corrected_test_keeps_its_level_where_the_plain_one_does_not():
    """Two learners that are equally good: nearest mean on other halves of the features, cross-validated."""
    rng = np.random.default_rng(5)
    images, folds, false, naive = 60, 10, 0, 0
    for _ in range(120):
        labels = rng.permutation(np.arange(images) % 2)
        points = rng.normal(size=(images, 8)) + 0.5 * labels[:, None]
        fold_of = rng.permutation(np.arange(images) % folds)
        rows = {}
        for name, part in (("a", slice(0, 4)), ("b", slice(4, 8))):
            right = np.zeros(images)
            for fold in range(folds):
                out = fold_of == fold
                centres = [points[~out & (labels == c), part].mean(axis=0) for c in (0, 1)]
                distances = [np.square(points[out, part] - centre).sum(axis=1) for centre in centres]
                right[out] = np.argmin(distances, axis=0) == labels[out]
            rows[name] = {0: right}
        found = compare_folds(rows["a"], rows["b"], {0: fold_of})
        false += found.p_value <= 0.05
        naive += stats.ttest_1samp(found.seed_differences, 0).pvalue <= 0.05
    assert false <= 9  # of 120 at 5%: 6 are expected, more than 11 with a chance of 2%
    assert naive > false


@pytest.mark.parametrize("setting", ["checkpoints", "common"])
def test_a_baseline_that_is_no_contender_is_refused(setting):
    a, b = correct(0.8, 3, 50), correct(0.7, 3, 50)
    with pytest.raises(EvidenceError, match='baseline "c" is no contender'):
        judged({"a": a, "b": b}, baseline="c", **{setting: True})


def test_other_quantities_keep_to_the_design():
    """Loss and single classes of grouped images: copies within a group add nothing either."""
    rng = np.random.default_rng(6)
    truth, groups = np.arange(60) % 3, np.arange(60) // 2

    def probs(share):
        right = rng.random((3, 60)) < share
        found = np.full((3, 60, 3), 0.1, dtype=np.float32)
        np.put_along_axis(found, np.where(right, truth, (truth + 1) % 3)[..., None], 0.8, axis=2)
        return found

    given = {"a": probs(0.9), "b": probs(0.5)}
    (told,) = results_of_arrays(given, truth, make_reading({"classes": "cat,dog,ship"}))
    grouped = replace(told.results, examples=replace(told.results.examples, groups=groups))
    for quantity in ("loss", "brier", "dog"):
        (alone,), (together,) = (compare_quantity(results, quantity) for results in (told.results, grouped))
        assert alone.verdict.comparison.method is Method.UNPAIRED
        assert together.verdict.comparison.n_groups == (30 if quantity != "dog" else 20)
        assert together.verdict.comparison.difference == pytest.approx(alone.verdict.comparison.difference)
