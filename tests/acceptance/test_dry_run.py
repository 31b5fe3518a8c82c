"""What a study will take is said without training, and again by its first steps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tiebreak.actions.dry_run import dry_run, runs_of_contender
from tiebreak.sinks.terminal import FirstEstimate
from tiebreak.study.driver import Event, plan_tasks
from tiebreak.study.plan import Execution, Study, parse_contender
from tiebreak.study.tuning import run_searches
from tiebreak.study.where.task import RunId
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.recipe.space import Tuning
from tiebreak.training.run import RunProgress
from tiny_images import tiny_images

SERIAL = Execution(device="cpu", executor="serial")


def study_of(**fields: object) -> Study:
    recipe = Recipe(epochs=2, batch_size=32)
    contenders = (parse_contender("linear", recipe), parse_contender("mlp(hidden_dim=9)", recipe))
    return Study(contenders=contenders, **{"seeds": 4, "data": {"val_size": 30}} | fields)


def test_as_many_runs_are_told_as_are_trained(tmp_path: Path) -> None:
    plain = study_of()
    assert 2 * runs_of_contender(plain) == len(plan_tasks(plain, 30))
    assert runs_of_contender(study_of(vary="data")) == 8
    tuned = study_of(tune=Tuning(search="lr", trials=3, searches=2))
    trained = 0
    for step in run_searches(tuned, tiny_images(), tmp_path / "study", SERIAL):
        trained = trained + max(event.ended for event in step.events)
    assert 2 * runs_of_contender(tuned) == trained


def test_nothing_is_trained(tmp_path: Path) -> None:
    found = dry_run(study_of(), SERIAL, tmp_path / "study", tiny_images())
    assert not (tmp_path / "study").exists()
    assert found.runs == 8 and found.workers == 1
    assert found.seconds == pytest.approx(4 * sum(found.seconds_of_run.values()))
    assert found.memory > 1e8 and found.disk > 1e6
    assert "8 runs, 1 at a time: about " in str(found)
    assert "Note: 30 validation images: too few to choose an epoch or a setting by" in str(found)


def test_contenders_that_compute_alike_are_timed_once(tmp_path: Path) -> None:
    plain = study_of()
    twin = plain.contenders[0].model_copy(update={"label": "twin"})
    smooth = twin.model_copy(update={"recipe": twin.recipe.model_copy(update={"label_smoothing": 0.1})})
    study = plain.model_copy(update={"contenders": (*plain.contenders, smooth)})
    found = dry_run(study, SERIAL, tmp_path / "study", tiny_images()).seconds_of_run
    assert found["twin"] == found["linear"] != found["mlp(hidden_dim=9)"]


def test_the_command_says_it_as_text_and_json(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tiebreak",
        "compare",
        "linear",
        "mlp",
        "--dataset",
        "digits",
        "--dry-run",
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout)["runs"] == 10
    assert "10 runs, " in done.stderr and list(tmp_path.iterdir()) == []


def test_the_first_steps_tell_once(monkeypatch: pytest.MonkeyPatch) -> None:
    study, now = study_of(seeds=50), [0.0]
    monkeypatch.setattr("tiebreak.sinks.terminal.time.monotonic", lambda: now[0])
    first = FirstEstimate(study, since=0.0)

    def hear(label: str, seed: int) -> str | None:
        news = RunProgress(epoch=1, batch=2, batches=3, loss=1.0, accuracy=0.5, images_per_second=96.0)
        return first.hear(Event(run=RunId(label=label, seed=seed, epochs=2), news=news, ended=0))

    assert hear("linear", 0) is None
    now[0] = 2.0
    # 2 x 50 runs of 2 epochs of 96 images: 200 s on one core, two runs at a time.
    assert hear("mlp(hidden_dim=9)", 0) == "About 2 min in all, by the first steps."
    assert hear("linear", 1) is None
