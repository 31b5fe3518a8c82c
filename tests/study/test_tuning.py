"""Contenders tuned alike: what a search tries, what it chooses, and what its verdict is then about."""

from pathlib import Path

import numpy as np
import pytest

from tiebreak.actions.judge import as_json, judge
from tiebreak.actions.run import run
from tiebreak.errors import StudyError
from tiebreak.evidence.compare.pair import compare_scores
from tiebreak.results.run import best_epoch
from tiebreak.study.plan import Execution, Study, parse_contender
from tiebreak.study.record import RunRecord
from tiebreak.study.store import read_study
from tiebreak.study.study_file import interpret, read_study_file
from tiebreak.study.tuning import run_searches, search_study
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.recipe.space import Tuning
from tiny_images import tiny_images

SERIAL = Execution(device="cpu", executor="serial")
LABELS = ("linear", "mlp(hidden_dim=9)")


def tuned_study(seeds: int = 2, epochs: int = 2, **tuning: object) -> Study:
    recipe = Recipe(epochs=epochs, batch_size=32)
    settings = {"search": "lr,weight_decay", "trials": 3} | tuning
    contenders = tuple(parse_contender(text, recipe) for text in LABELS)
    return Study(contenders=contenders, seeds=seeds, tune=Tuning(**settings), data={"val_size": 30})


def train(study: Study, folder: Path) -> list[tuple[str, int]]:
    """Search; gives the runs that were trained and not found."""
    events = (event for step in run_searches(study, tiny_images(), folder, SERIAL) for event in step.events)
    return [
        (event.run.label, event.run.seed)
        for event in events
        if isinstance(event.news, RunRecord) and event.news.reused_from is None
    ]


def test_contenders_of_a_seed_share_their_points_and_seeds_have_their_own() -> None:
    first, second = (search_study(tuned_study(), seed) for seed in (0, 1))
    rates = {c.label: (c.recipe.lr, c.recipe.weight_decay) for c in first.contenders}
    assert list(rates) == [f"{label}#{trial}" for label in LABELS for trial in (1, 2, 3)]
    assert [rates[f"linear#{trial}"] for trial in (1, 2, 3)] == [rates[f"{LABELS[1]}#{t}"] for t in (1, 2, 3)]
    assert rates["linear#1"] != (second.contenders[0].recipe.lr, second.contenders[0].recipe.weight_decay)


def test_a_contender_may_declare_its_own_range() -> None:
    table = {"model": "linear", "search": {"lr": [0.2, 0.3]}}
    content = {"contenders": [table, "mlp"], "tune": {"search": ["lr"], "trials": 4}, "seeds": 3}
    study, _, _ = interpret(content, {})
    rates = {c.label: c.recipe.lr for c in search_study(study, 0).contenders}
    assert all(0.2 <= rates[f"linear#{trial}"] <= 0.3 for trial in range(1, 5))
    assert all(1e-4 <= rates[f"mlp#{trial}"] <= 1e-2 for trial in range(1, 5))


def test_the_best_by_validation_is_the_seeds_run(tmp_path: Path) -> None:
    study, folder = tuned_study(), tmp_path / "study"
    assert len(train(study, folder)) == 12
    stored = read_study(folder)
    for label in LABELS:
        for seed in (0, 1):
            record, search = stored.runs[label][seed], read_study(folder / "searches" / f"seed-{seed}")
            tried = {trial: search.runs[f"{label}#{trial}"][seed] for trial in (1, 2, 3)}
            assert record.tuned is not None
            accuracies = {trial: each.history["val_acc"][-1] for trial, each in tried.items() if each.history}
            assert accuracies[record.tuned.trial] == max(accuracies.values())
            winner = tried[record.tuned.trial]
            assert record.test_acc == winner.test_acc and record.files == winner.files
            point = search.study.contender(f"{label}#{record.tuned.trial}").recipe
            assert record.tuned.values == {"lr": point.lr, "weight_decay": point.weight_decay}
            assert [trial.val_acc for trial in record.tuned.trials] == list(accuracies.values())


def test_asked_again_nothing_is_trained_and_more_trials_train_only_those(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    train(tuned_study(), folder)
    before = {path: path.read_bytes() for path in folder.glob("runs/*/*/*")}
    assert train(tuned_study(), folder) == []
    assert {path: path.read_bytes() for path in folder.glob("runs/*/*/*")} == before
    more = train(tuned_study(trials=5), folder)
    assert sorted(more) == sorted(
        (f"{label}#{t}", seed) for label in LABELS for t in (4, 5) for seed in (0, 1)
    )
    other = tuned_study(trials=5, seeds=3)
    elsewhere = train(other, tmp_path / "other")
    assert {seed for _, seed in elsewhere} == {2}, "trials are found beside the folder"
    assert read_study(tmp_path / "other").header.seeds_added[0].before == 2


def test_searches_in_blocks_count_searches(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    study = tuned_study(seeds=6, searches=3, trials=2)
    trained = train(study, folder)
    assert len(trained) == 3 * 2 * 2 + 3 * 2, "a search for two seeds, whose second has the winner alone"
    found = judge(folder)
    (judgement,) = found.judgements
    comparison = judgement.verdict.comparison
    truth = found.results.examples.truth
    rows = {
        label: np.stack([run.correct(truth) for run in found.results.of(label).runs.values()]).astype(float)
        for label in LABELS
    }
    leads = (rows[judgement.a] - rows[judgement.b]).reshape(3, 2, -1).mean(axis=1)
    expected = compare_scores(leads, bound=1.0)
    assert (comparison.difference, comparison.ci_low) == (expected.difference, expected.ci_low)
    assert comparison.n_seeds == 3 and comparison.seeds_a_search == 2
    assert "3 searches of 2 paired seeds each" in judgement.sentence


def test_tuned_once_is_about_configurations(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    train(tuned_study(seeds=3, once=True), folder)
    (judgement,) = judge(folder).judgements
    assert f"{judgement.a} at lr " in judgement.sentence
    assert judgement.sentence.endswith("another search may find others.")
    assert judgement.scope is not None and "lr and weight_decay searched once" in judgement.scope


def test_the_scope_says_that_both_were_tuned(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    train(tuned_study(), folder)
    (judgement,) = judge(folder).judgements
    assert judgement.scope == (
        "holds for this recipe (2 epochs, Adam, batch size 32, lr and weight_decay searched anew in each "
        "seed, the best of 3 trials by validation)"
    )


def test_halving_trains_fewer_epochs_and_goes_on_exactly(tmp_path: Path) -> None:
    whole, halved = tmp_path / "whole" / "study", tmp_path / "halved" / "study"
    train(tuned_study(epochs=6, trials=6, seeds=1), whole)
    train(tuned_study(epochs=6, trials=6, seeds=1, halving=True), halved)
    for label in LABELS:
        record = read_study(halved).runs[label][0]
        assert record.tuned is not None
        epochs = sorted(trial.epochs for trial in record.tuned.trials)
        assert epochs == [1, 1, 1, 1, 2, 6], "a third goes on from epochs 1 and 2"
        twin = read_study(whole / "searches" / "seed-0").runs[f"{label}#{record.tuned.trial}"][0]
        assert record.files == twin.files, "what was paused and went on has the same bytes"
        assert record.tuned.trials[record.tuned.trial - 1].test_acc == twin.test_acc
    assert "tuning_curve" in as_json(judge(halved)) and as_json(judge(halved))["tuning_curve"] == {}


def test_asked_again_a_halving_trains_nothing_and_changes_no_file(tmp_path: Path) -> None:
    """Also where a trial failed, or the last epoch of one that went on is worse than a rung's."""
    contenders = tuple(
        parse_contender(text, Recipe(epochs=6, batch_size=32, optimizer="sgd"), search={"lr": [1e-2, 1e30]})
        for text in LABELS
    )
    study = Study(
        contenders=contenders,
        seeds=2,
        tune=Tuning(search="lr", trials=6, halving=True),
        data={"val_size": 30},
    )
    folder = tmp_path / "study"
    assert train(study, folder)
    records = read_study(folder / "searches" / "seed-0").runs
    assert any(record.status == "failed" for runs in records.values() for record in runs.values())
    before = {path: path.read_bytes() for path in folder.rglob("runs/*/*/*")}
    assert train(study, folder) == []
    assert {path: path.read_bytes() for path in folder.rglob("runs/*/*/*")} == before


def test_tuned_once_for_as_many_seeds_as_it_takes(tmp_path: Path) -> None:
    """Nothing but the training is handed to the seeds that share a search."""
    study = tuned_study(seeds=3, once=True, trials=2).model_copy(update={"looks": (2, 3)})
    found = run(study, SERIAL, tmp_path / "study", tiny_images())
    assert found.results.of("linear").runs.keys() in ({0, 1}, {0, 1, 2})
    parts = [read_study(place) for place in (tmp_path / "study" / "searches").glob("with-seed-0-*")]
    assert parts and all(part.study.looks is None for part in parts)
    trained = [
        (label, seed)
        for part in parts
        for label, runs in part.runs.items()
        for seed, record in runs.items()
        if record.reused_from is None
    ]
    assert len(trained) == len(set(trained)), "a further look trains only further seeds"


def test_more_seeds_for_as_many_searches_are_another_study(tmp_path: Path) -> None:
    """The blocks would be others, so a seed's run would come from another search."""
    train(tuned_study(seeds=4, searches=2, trials=2), tmp_path / "study")
    with pytest.raises(
        StudyError, match=r"another study \(seeds was \[0, 1, 2, 3\], now \[0, 1, 2, 3, 4, 5\]\)"
    ):
        train(tuned_study(seeds=6, searches=2, trials=2), tmp_path / "study")


def test_the_json_tells_what_was_chosen_and_spent(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    train(tuned_study(), folder)
    found = as_json(judge(folder))
    tuned = found["contenders"]["linear"]["tuned"]
    assert tuned["trials"] == 3 and tuned["search_seeds"] == [0, 1] and tuned["seconds"] > 0
    curve = found["tuning_curve"]["linear"]
    assert curve["test_acc"][-1] == pytest.approx(found["contenders"]["linear"]["test_acc"]["mean"])
    assert all(
        low <= acc <= high
        for low, acc, high in zip(curve["val_low"], curve["val_acc"], curve["val_high"], strict=True)
    )


def test_a_contender_whose_trials_all_fail_has_failed(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=32, optimizer="sgd")
    study = Study(
        contenders=(
            parse_contender("linear", recipe),
            parse_contender("mlp", recipe, search={"lr": [1e29, 1e30]}),
        ),
        seeds=2,
        tune=Tuning(search="lr", trials=2),
        data={"val_size": 30},
    )
    train(study, tmp_path / "study")
    record = read_study(tmp_path / "study").runs["mlp"][0]
    assert record.status == "failed" and (record.reason or "").startswith("all 2 trials failed, the first: ")
    assert judge(tmp_path / "study").results.without_runs[0].label == "mlp"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tune": "dropout"}, "tune.search: 'dropout' cannot be searched; choose from lr, weight_decay"),
        ({"tune": "lr=0.1..0.01"}, r"tune.search.lr: expected a range such as 0.0001..0.01, got 0.1..0.01"),
        ({"tune": "lr=fast"}, "expected a range such as 1e-4..1e-2, got 'fast'"),
        ({"tune": "momentum"}, "linear: momentum is no setting of adam; leave it out of the search"),
        ({"trials": 3}, 'the key "tune.search" is missing'),
        ({"tune": "lr", "searches": 2}, "2 searches need several seeds each, such as 4, got 3"),
        ({"tune": "lr", "searches": 2, "tune_once": True}, "leave out searches, or leave out tune_once"),
        ({"tune": "lr", "searches": 2, "seeds": "auto"}, "leave out searches"),
        ({"tune": "batch_size", "equal": "steps"}, "a batch size that is known beforehand; do not search"),
        ({"tune": "label_smoothing=0.5..1.5"}, "linear: label_smoothing cannot be 1.5: input should be less"),
        ({"tune": "lr", "vary": "data"}, 'vary = "data" is for a fixed number of seeds and recipes'),
    ],
)
def test_a_search_that_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message.replace("(", r"\(")):
        interpret({"contenders": ["linear", "mlp"]}, {"seeds": 3} | settings)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"weight_decay": [1e-4, 1e-2]},
            "linear: it has a range for weight_decay, which no search asks about",
        ),
        ({"speed": [1, 2]}, "'speed' cannot be searched; choose from lr"),
        ({"lr": [-1, 2]}, "linear: lr cannot be -1: input should be greater than 0"),
    ],
)
def test_a_range_of_its_own_that_cannot_be_is_refused(table: dict[str, object], message: str) -> None:
    content = {"contenders": [{"model": "linear", "search": table}, "mlp"], "tune": {"search": "lr"}}
    with pytest.raises(StudyError, match=message):
        interpret(content, {"seeds": 2})


def test_a_range_may_be_named_as_on_the_command_line() -> None:
    content = {
        "contenders": [{"model": "linear", "search": {"weight-decay": [0.5, 0.6]}}, "mlp"],
        "tune": {"search": ["weight-decay"], "trials": 2},
    }
    study, _, _ = interpret(content, {"seeds": 2})
    assert all(0.5 <= c.recipe.weight_decay <= 0.6 for c in search_study(study, 0).contenders[:2])


def test_a_study_file_can_say_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        'contenders = ["linear", "mlp"]\nseeds = 4\n'
        "[tune]\ntrials = 5\nsearches = 2\nhalving = true\n"
        'search = {lr = [1e-3, 1e-1], label_smoothing = "0..0.1"}\n'
    )
    study, _, _ = read_study_file(path, {})
    assert study.tune is not None and study.tune.search["lr"] is not None
    assert (study.tune.search["lr"].low, study.tune.trials, study.tune.halving) == (1e-3, 5, True)
    assert study.blocks == ((0, 1), (2, 3))


def test_the_action_searches_to_a_page(tmp_path: Path) -> None:
    found = run(tuned_study(trials=2), SERIAL, tmp_path / "study", tiny_images())
    page = found.page.read_text(encoding="utf-8")
    assert "Tuned alike" in page and 'id="setting-chart"' in page
    assert "Expected test accuracy of the best trial" in str(found)


@pytest.mark.parametrize("halving", [False, True])
def test_trials_that_stop_early_compete_by_the_epoch_they_keep(tmp_path: Path, halving: bool) -> None:
    plan = tuned_study(seeds=2, halving=halving, trials=4)
    patient = tuple(
        c.model_copy(update={"recipe": c.recipe.model_copy(update={"epochs": 6, "patience": 1})})
        for c in plan.contenders
    )
    study, folder = plan.model_copy(update={"contenders": patient}), tmp_path / "study"
    train(study, folder)
    stored = read_study(folder)
    for label in LABELS:
        for record in stored.runs[label].values():
            assert record.tuned is not None and record.history is not None and record.kept_epoch is not None
            assert record.kept_epoch == best_epoch(record.history)
            chosen = record.tuned.trials[record.tuned.trial - 1]
            assert chosen.val_acc == record.history["val_acc"][record.kept_epoch - 1]
            finished = [trial for trial in record.tuned.trials if trial.test_acc is not None]
            assert chosen.val_acc == max(trial.val_acc for trial in finished if trial.val_acc is not None)
    lengths = [len(r.history["val_acc"]) for r in stored.runs["linear"].values() if r.history]
    assert min(lengths) < 6, "some trial stops early, or this test shows nothing"
    verdicts = judge(folder)
    assert {summary.epochs.mean < 6 for summary in verdicts.contenders if summary.epochs} == {True}
