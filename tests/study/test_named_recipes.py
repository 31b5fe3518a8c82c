"""Recipes by name, and what each piece of one brings."""

from pathlib import Path

import pytest

from tiebreak.actions.ablate import ablated, pieces_of
from tiebreak.actions.judge import judge
from tiebreak.actions.run import run
from tiebreak.errors import StudyError
from tiebreak.study.named_recipes import recipe_names, recipe_text
from tiebreak.study.plan import Execution, Study
from tiebreak.study.study_file import interpret, read_study_file
from tiebreak.training.recipe.recipe import Recipe
from tiny_images import tiny_images

SERIAL = Execution(device="cpu", executor="serial")


def study_of(content: dict[str, object], **settings: object) -> Study:
    return interpret({"contenders": ["mlp"], "seeds": 2} | content, settings)[0]


@pytest.mark.parametrize("name", list(recipe_names()))
def test_every_recipe_of_the_package_trains(name: str, tmp_path: Path) -> None:
    study = study_of(
        {"contenders": ["cnn(width=4)", "resnet(width=8)"]}, recipe=name, epochs=2, batch_size=32
    )
    assert recipe_names()[name].endswith(".")
    found = run(study, SERIAL, tmp_path / "study", tiny_images())
    assert all(contender.runs for contender in found.results.contenders)
    assert found.judgements[0].scope is not None and "2 epochs" in found.judgements[0].scope


def test_the_case_studys_is_the_default() -> None:
    assert study_of({}, recipe="case-study").contenders[0].recipe == Recipe()


def test_what_stands_beside_a_name_wins() -> None:
    from_options = study_of({}, recipe="strong", epochs=3, cutout=0)
    from_table = study_of({"recipe": {"name": "strong", "epochs": 3, "cutout": 0}})
    assert from_options.contenders[0].recipe == from_table.contenders[0].recipe
    assert from_options.contenders[0].recipe.epochs == 3 and from_options.contenders[0].recipe.nesterov


def test_each_contender_may_name_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("# Mine.\nlr = 0.5\nflip = true\n")
    path = tmp_path / "study.toml"
    path.write_text(
        'seeds = 2\ncontenders = [\n  { label = "a", model = "mlp", recipe = "regularised" },\n'
        f'  {{ label = "b", model = "mlp", recipe = {{ name = "{tmp_path}/mine.toml", crop = 2 }} }},\n]\n'
    )
    a, b = read_study_file(path, {})[0].contenders
    assert a.recipe.optimizer == "adamw" and (b.recipe.lr, b.recipe.flip, b.recipe.crop) == (0.5, True, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, 'unknown recipe "mine.toml", and no such file'),
        ("lr = ", "recipe mine.toml is not TOML"),
        ("rate = 1", 'recipe mine.toml: unknown key "rate"'),
        ("lr = 'fast'", "recipe.lr: input should be a valid number"),
    ],
)
def test_a_recipe_that_is_none_is_refused(
    content: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("mine.toml").write_text(content)
    with pytest.raises(StudyError, match=message):
        study_of({}, recipe="mine.toml")


def test_a_recipe_is_shown_as_it_is_read() -> None:
    assert "nesterov = true" in recipe_text("strong")


def test_every_piece_is_left_out_once() -> None:
    study = ablated(study_of({"seeds": 3}, recipe="strong"))
    whole = study.contenders[0].recipe
    labels = [contender.label for contender in study.contenders]
    assert labels == ["all", *(f"without {piece}" for piece in pieces_of(whole))]
    assert study.baseline == "all"
    for contender in study.contenders[1:]:
        piece = contender.label.removeprefix("without ")
        changed = {name for name, value in contender.recipe if value != getattr(whole, name)}
        together = {"crop": {"crop", "pad"}, "weight_decay": {"weight_decay", "decay_norms"}}
        assert changed == together.get(piece, {piece})


def test_each_gain_has_its_interval(tmp_path: Path) -> None:
    study = ablated(
        study_of({"seeds": 3, "contenders": ["mlp"]}, recipe="regularised", epochs=2), ["flip", "crop"]
    )
    run(study, SERIAL, tmp_path / "study", tiny_images())
    found = judge(tmp_path / "study")
    assert {judgement.a for judgement in found.judgements} == {"without flip", "without crop"}
    assert {judgement.b for judgement in found.judgements} == {"all"}
    assert all(judgement.verdict.n_comparisons == 2 for judgement in found.judgements)
    text = str(found)
    assert "minus all" in text and "adjusted p" in text


def test_a_piece_asked_for_twice_is_left_out_once() -> None:
    study = ablated(study_of({}, recipe="regularised"), ["flip", "flip"])
    assert [contender.label for contender in study.contenders] == ["all", "without flip"]


@pytest.mark.parametrize(
    ("study", "without", "message"),
    [
        ({"recipe": {"flip": True}, "baseline": "mlp"}, None, "leave out --baseline and auto"),
        ({"recipe": {"flip": True}, "equal": "flops:mlp"}, None, "give --equal without a contender"),
        ({}, None, "the recipe has no piece to leave out"),
        ({"recipe": {"flip": True}}, ["cutout"], "the recipe has no 'cutout' to leave out. Known: flip"),
        ({"contenders": ["mlp", "cnn"]}, None, "ablate takes one contender, got 2"),
    ],
)
def test_what_cannot_be_left_out_is_said(
    study: dict[str, object], without: list[str] | None, message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        ablated(study_of(study), without)
