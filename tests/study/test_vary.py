"""Training images varied: what a redrawn run is trained on, and how its luck enters the interval."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import stdtrit

from tiebreak.actions.judge import judge
from tiebreak.actions.run import run
from tiebreak.data.subset import disjoint_part, redraw
from tiebreak.errors import DataError, StudyError
from tiebreak.evidence.compare.comparison import with_data_part
from tiebreak.evidence.compare.interval import Part, data_variance, half_width, p_value
from tiebreak.evidence.compare.pair import compare_predictions
from tiebreak.evidence.compare.predict import chance_of_deciding
from tiebreak.report.text.paper import checklist
from tiebreak.rng import stream
from tiebreak.study.driver import plan_tasks
from tiebreak.study.plan import Execution, Study, parse_contender
from tiebreak.study.store import read_study
from tiebreak.study.study_file import interpret
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import run_key
from tiebreak.training.spec import RunSpec, run_images
from tiny_images import tiny_images

SERIAL = Execution(device="cpu", executor="serial")
RECIPE = Recipe(epochs=2, batch_size=32)


def study_of(**fields: object) -> Study:
    contenders = tuple(parse_contender(text, RECIPE) for text in ("linear", "mlp(hidden_dim=9)"))
    return Study(contenders=contenders, seeds=4, data={"val_size": 30}, **fields)


def test_as_many_images_are_drawn_with_replacement() -> None:
    part = tiny_images().train
    chosen = redraw(part, stream(0, "redraw")).indices
    assert chosen is not None and len(chosen) == len(part) and 50 < len(chosen.unique()) < 75
    assert torch.equal(chosen, redraw(part, stream(0, "redraw")).indices)
    assert not torch.equal(chosen, redraw(part, stream(1, "redraw")).indices)


def test_only_the_training_images_of_a_redrawn_run_are_others() -> None:
    plain = RunSpec(model="linear", recipe=RECIPE, seed=3, val_size=30)
    images, redrawn = (
        run_images(spec, tiny_images()) for spec in (plain, plain.model_copy(update={"redraw": True}))
    )
    assert torch.equal(images.val.indices, redrawn.val.indices)
    assert set(redrawn.train.indices.tolist()) < set(images.train.indices.tolist())


def test_runs_that_are_not_redrawn_keep_their_identity() -> None:
    spec = RunSpec(model="linear", recipe=RECIPE, seed=3, val_size=30)
    assert "redraw" not in run_key(spec, tiny_images())["spec"]
    assert run_key(spec.model_copy(update={"redraw": True}), tiny_images())["spec"]["redraw"] is True


def test_the_interval_has_a_third_part(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    found = run(study_of(vary="data"), SERIAL, folder, tiny_images())
    (judgement,) = found.judgements
    comparison, truth = judgement.verdict.comparison, found.results.examples.truth
    a, b = (found.results.of(label) for label in (judgement.a, judgement.b))
    plain = compare_predictions(*(np.stack([r.correct(truth) for r in one.runs.values()]) for one in (a, b)))
    leads = [
        (a.redrawn[seed].correct(truth).mean() - b.redrawn[seed].correct(truth).mean()) for seed in range(4)
    ]
    expected = data_variance(plain.seed_differences, leads)
    assert comparison.data_variance == pytest.approx(expected)
    assert comparison.difference == plain.difference
    assert comparison.ci_high - comparison.ci_low >= plain.ci_high - plain.ci_low
    assert "with other training images" in judgement.sentence
    assert "from training images" in str(found)
    answer = checklist(found.results, found.judgements)
    assert "4 a contender, training images drawn anew, and the choice of" in answer
    assert "a third part for the training images" in answer
    assert answer.endswith("Not covered: the choice of hyperparameters.")
    there = read_study(folder / "redrawn")
    assert all(record.status == "finished" for runs in there.runs.values() for record in runs.values())


def test_its_variance_leaves_open_what_so_few_seeds_leave_open() -> None:
    fixed, redrawn = [0.01, 0.02, 0.03], [0.0, 0.02, 0.04]  # variances 1e-4 and 4e-4
    error = np.sqrt(2 / 2 * (1e-8 + 16e-8))
    assert data_variance(fixed, redrawn) == pytest.approx(3e-4 + 0.84 * error)
    assert data_variance(redrawn, fixed) == pytest.approx(0.84 * error - 3e-4)
    assert data_variance([0.0, 0.1, 0.2, 0.3, 0.4], [0.01] * 5) == 0, "seeds explain all of it, and more"


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_it_covers_what_the_plain_difference_of_variances_does_not(ratio: float) -> None:
    """Means of 5 seeds: the pool's luck is `ratio` times a seed's; 20,000 studies, error .2 points."""
    rng, n, studies = np.random.default_rng(0), 5, 20_000
    pools = rng.normal(0, np.sqrt(ratio), (studies, 1 + n))
    fixed = pools[:, :1] + rng.normal(0, 1, (studies, n))
    redrawn = pools[:, 1:] + rng.normal(0, 1, (studies, n))
    within, around = fixed.var(axis=1, ddof=1), redrawn.var(axis=1, ddof=1)
    error = np.sqrt(2 / (n - 1) * (within**2 + around**2))
    variance = np.maximum(around - within + 0.84 * error, 0)
    for one in range(20):
        assert data_variance(list(fixed[one]), list(redrawn[one])) == pytest.approx(variance[one])
    reach = stdtrit(n - 1, 0.975) * np.sqrt(within / n + variance)
    assert (np.abs(fixed.mean(axis=1)) <= reach).mean() > 0.945


def test_its_part_does_not_shrink_with_seeds() -> None:
    rng = np.random.default_rng(0)
    comparison = compare_predictions(rng.random((5, 300)) < 0.8, rng.random((5, 300)) < 0.7)
    wider = with_data_part(comparison, 0.0004, 4)
    seeds, images = comparison.parts
    parts = (seeds, Part(variance=0.0004, df=4), images)
    assert wider.ci_high - wider.difference == pytest.approx(half_width(0.05, *parts))
    assert wider.p_value == pytest.approx(p_value(wider.difference, *parts))
    many = np.array([1_000])
    assert chance_of_deciding(wider, many)[0] < chance_of_deciding(comparison, many)[0]


def test_before_it_is_trained_nothing_is_claimed(tmp_path: Path) -> None:
    run(study_of(vary="data"), SERIAL, tmp_path / "study", tiny_images())
    (tmp_path / "study" / "redrawn" / "study.json").unlink()
    (judgement,) = judge(tmp_path / "study").judgements
    assert judgement.verdict.comparison.data_variance is None
    assert "training images" not in judgement.sentence


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vary": "data", "seeds": "auto"}, 'vary = "data" is for a fixed number of seeds'),
        (
            {"vary": "data", "tune": "lr"},
            'vary = "data" is for a fixed number of seeds and recipes that are given',
        ),
        ({"vary": "data", "seeds": 1}, 'vary = "data" needs at least 2 seeds'),
        ({"vary": "seeds"}, "vary: input should be 'data' or 'disjoint', got 'seeds'"),
    ],
)
def test_what_cannot_be_varied_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        interpret({"contenders": ["linear", "mlp"]}, settings)


def test_parts_are_disjoint_of_one_size_and_balanced() -> None:
    part = tiny_images().train
    parts = [disjoint_part(part, number, 4, stream(0, "part")) for number in range(4)]
    chosen = [set(each.indices.tolist()) for each in parts if each.indices is not None]
    assert [len(each) for each in chosen] == [len(part) // 4] * 4
    assert len(set.union(*chosen)) == 4 * (len(part) // 4)
    for each in parts:
        counts = torch.bincount(each.targets)
        assert counts.max() - counts.min() <= 2
    with pytest.raises(
        DataError, match=r"disjoint parts are 2 each: fewer than classes\. Ask for fewer seeds"
    ):
        disjoint_part(part, 0, len(part) // 2, stream(0, "part"))


def test_no_two_seeds_share_training_images_and_the_sentence_says_so(tmp_path: Path) -> None:
    study, data = study_of(vary="disjoint"), tiny_images()
    tasks = plan_tasks(study, 30)
    images = [run_images(tasks["linear", seed].spec, data) for seed in study.seeds]
    used = [set(each.train.indices.tolist()) for each in images]
    assert sum(map(len, used)) == len(set.union(*used))
    assert all(torch.equal(each.val.indices, images[0].val.indices) for each in images)
    assert not set.union(*used) & set(images[0].val.indices.tolist())
    found = run(study, SERIAL, tmp_path / "study", data)
    (judgement,) = found.judgements
    comparison, truth = judgement.verdict.comparison, found.results.examples.truth
    a, b = (found.results.of(label) for label in (judgement.a, judgement.b))
    plain = compare_predictions(*(np.stack([r.correct(truth) for r in one.runs.values()]) for one in (a, b)))
    assert (comparison.ci_low, comparison.ci_high) == (plain.ci_low, plain.ci_high)
    assert comparison.data_variance is None
    assert "with other training images" in judgement.sentence
    size = (len(data.train) - 30) // 4
    assert f"{size} training images of its own for each seed" in str(judgement.scope)
    assert not (tmp_path / "study" / "redrawn").exists()
    with pytest.raises(StudyError, match="seeds"):  # whose parts would be others
        run(study.model_copy(update={"seeds": tuple(range(5))}), SERIAL, tmp_path / "study", data)


def test_disjoint_parts_are_for_seeds_that_are_known_beforehand() -> None:
    with pytest.raises(StudyError, match='vary = "disjoint" is for a fixed number of seeds'):
        interpret({"contenders": ["mlp", "cnn"], "seeds": "auto"}, {"vary": "disjoint"})
