"""Equal budgets: the epochs that they give, what is told of them, and that they stay."""

from pathlib import Path

import pytest
from rich.console import Console

from tiebreak.actions.equal import epoch_cost, with_equal_budgets
from tiebreak.actions.judge import as_json
from tiebreak.actions.run import run
from tiebreak.errors import StudyError
from tiebreak.models.catalog import build_model
from tiebreak.models.cost import model_cost
from tiebreak.rng import global_stream
from tiebreak.study.equal import Budget, Equal, equal_epochs
from tiebreak.study.plan import Execution, Study, default_folder, parse_contender
from tiebreak.study.store import read_study
from tiebreak.study.study_file import interpret
from tiebreak.training.recipe.recipe import Recipe
from tiny_images import tiny_images

SERIAL = Execution(device="cpu", executor="serial")
QUIET = Console(quiet=True)


def study_of(equal: str, *, batch_sizes: tuple[int, int] = (32, 32)) -> Study:
    contenders = (
        parse_contender("mlp", Recipe(epochs=4, batch_size=batch_sizes[0])),
        parse_contender("small=mlp(hidden_dim=8)", Recipe(epochs=3, batch_size=batch_sizes[1])),
    )
    return Study(contenders=contenders, seeds=2, equal=equal, data={"val_size": 30})


def epochs_of(study: Study) -> list[int]:
    return [contender.recipe.epochs for contender in study.contenders]


def settled(study: Study, folder: Path) -> list[int]:
    return epochs_of(with_equal_budgets(study, folder, tiny_images(), SERIAL, QUIET))


@pytest.mark.parametrize(
    ("equal", "expected"),
    [("epochs", [4, 4]), ("epochs:small", [3, 3]), ("epochs=7", [7, 7]), ("steps=10", [3, 3])],
)
def test_epochs_and_steps(equal: str, expected: list[int], tmp_path: Path) -> None:
    assert settled(study_of(equal), tmp_path) == expected  # 70 images are 3 steps


def test_steps_follow_the_batch_size(tmp_path: Path) -> None:
    study = study_of("steps", batch_sizes=(10, 35))
    assert settled(study, tmp_path) == [4, 14]  # 7 steps and 2 an epoch


def test_flops_are_those_of_the_models(tmp_path: Path) -> None:
    data = tiny_images()
    with global_stream(0, "init"):
        models = [build_model(name, data.image_shape, 3) for name in ("mlp", "mlp(hidden_dim=8)")]
    big, small = (model_cost(model, data.image_shape).flops for model in models)
    assert settled(study_of("flops"), tmp_path) == [4, round(4 * big / small)]
    (first, _) = study_of("flops").contenders
    assert epoch_cost(first, study_of("flops"), data, SERIAL) == 3 * big * 70


def test_seconds_are_measured_once(tmp_path: Path) -> None:
    """Another measurement would give other epochs, and so another study."""
    study, folder = study_of("seconds"), tmp_path / "study"
    first = run(study, SERIAL, folder, tiny_images())
    epochs = epochs_of(read_study(folder).study)
    assert epochs[0] == 4 and epochs[1] >= 1
    assert settled(study, folder) == epochs
    again = run(study, SERIAL, folder, tiny_images())
    assert as_json(again)["contenders"] == as_json(first)["contenders"]


def test_other_epochs_asked_for_are_another_study(tmp_path: Path) -> None:
    """The seconds of another first contender are not those that the folder's study has spent."""
    study, folder = study_of("seconds"), tmp_path / "study"
    run(study, SERIAL, folder, tiny_images())
    first, second = study.contenders
    recipe = first.recipe.model_copy(update={"epochs": 8})
    longer = study.model_copy(update={"contenders": (first.model_copy(update={"recipe": recipe}), second)})
    assert settled(longer, folder)[0] == 8
    with pytest.raises(StudyError, match="holds another study"):
        run(longer, SERIAL, folder, tiny_images())


def test_the_default_folder_is_named_by_what_was_asked() -> None:
    assert default_folder(study_of("seconds")) == default_folder(study_of("seconds"))
    assert default_folder(study_of("seconds")) != default_folder(study_of("steps"))


def test_no_contender_trains_for_less_than_an_epoch() -> None:
    assert equal_epochs(Equal(what=Budget.FLOPS, amount=1.0), {"a": 5, "b": 5}, {"a": 100.0, "b": 0.3}) == {
        "a": 1,
        "b": 3,
    }


def test_what_was_spent_is_told(tmp_path: Path) -> None:
    found = run(study_of("flops"), SERIAL, tmp_path / "study", tiny_images())
    budget = as_json(found)["budget"]
    spent = {label: each["flops"] for label, each in budget["spent"].items()}
    assert budget["equal"] == "flops" and spent["small"] == pytest.approx(spent["mlp"], rel=0.1)
    (judgement,) = found.judgements
    assert judgement.scope is not None and "as many flops as the first spends" in judgement.scope


@pytest.mark.parametrize(
    ("equal", "message"),
    [
        (
            "minutes",
            "expected one of epochs, seconds, flops, steps, such as seconds:cnn or seconds=60, got 'minutes'",
        ),
        ("seconds=many", "expected a number such as seconds=60, got 'seconds=many'"),
        ("seconds:dog", "equal: 'dog' is no contender; choose from mlp, cnn"),
        ("seconds=0", "equal.amount: input should be greater than 0, got 0.0"),
    ],
)
def test_a_budget_that_is_none_is_refused(equal: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        interpret({"contenders": ["mlp", "cnn"]}, {"equal": equal})


def test_what_stops_early_spends_no_equal_budget() -> None:
    small = ["mlp", {"model": "airnet", "recipe": {"small_size": 24}}]
    with pytest.raises(StudyError, match="an equal budget counts images of one size; leave out small_size"):
        interpret({"contenders": small}, {"equal": "epochs"})
    contenders = ["mlp", {"model": "cnn", "recipe": {"patience": 3}}]
    with pytest.raises(StudyError, match="an equal budget is spent to its end; leave out patience"):
        interpret({"contenders": contenders}, {"equal": "epochs"})
