"""Study files: what they say, what the command line lays over them, and what is wrong with them."""

import re
from pathlib import Path

import pytest

from tiebreak.errors import StudyError, TiebreakError
from tiebreak.study.study_file import PLACES, interpret, read_study_file, sort_settings
from tiebreak.training.recipe.recipe import Recipe

FULL = """
seeds = [3, 5]
level = 0.9
out = "here"
contenders = ["mlp", {model = "cnn(width=8)", label = "small", recipe = {lr = 0.01, epochs = 2}}]

[data]
name = "digits"
val_size = 100

[recipe]
epochs = 7
optimizer = "sgd"

[execution]
device = "cpu"
"""


@pytest.fixture
def full(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(FULL)
    return path


def test_everything_in_a_file_arrives(full):
    study, execution, out = read_study_file(full, {})
    mlp, small = study.contenders
    assert (study.seeds, study.level, out, execution.device) == ((3, 5), 0.9, Path("here"), "cpu")
    assert (study.data.name, study.data.val_size) == ("digits", 100)
    assert (mlp.label, mlp.recipe.epochs, mlp.recipe.optimizer, mlp.recipe.lr) == ("mlp", 7, "sgd", 1e-3)
    assert (small.label, small.model) == ("small", "cnn(width=8)")
    assert (small.recipe.epochs, small.recipe.optimizer, small.recipe.lr) == (2, "sgd", 0.01)


def test_the_command_line_wins_over_the_file(full):
    overrides = {"recipe": {"epochs": 1}, "data": {"name": "mnist"}, "seeds": 2, "out": Path("there")}
    study, _, out = read_study_file(full, overrides)
    assert [contender.recipe.epochs for contender in study.contenders] == [1, 1]
    assert [contender.recipe.lr for contender in study.contenders] == [1e-3, 0.01]
    assert (study.data.name, study.data.val_size, study.seeds, out) == ("mnist", 100, (0, 1), Path("there"))


def test_file_and_command_line_build_the_same_study(full):
    from_file, _, _ = read_study_file(full, {"seeds": 3})
    content = {
        "contenders": [
            "mlp",
            {"model": "cnn(width=8)", "label": "small", "recipe": {"lr": 0.01, "epochs": 2}},
        ]
    }
    overrides = {
        "seeds": 3,
        "level": 0.9,
        "data": {"name": "digits", "val_size": 100},
        "recipe": {"epochs": 7, "optimizer": "sgd"},
    }
    direct, _, _ = interpret(content, overrides)
    assert direct.contenders[0] == from_file.contenders[0]
    assert direct.identity != from_file.identity  # the override of epochs reaches the second contender too
    assert direct.contenders[1].recipe.epochs == 7


def test_every_study_that_comes_along_can_be_read():
    paths = list((Path(__file__).parents[2] / "studies").glob("*.toml"))
    assert paths
    for path in paths:
        read_study_file(path, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", 'the key "contenders" is missing.'),
        ("contenders = []", "contenders: "),
        ('contenders = ["mlp"]\nepochs = 3', 'unknown key "epochs".'),
        ('contenders = ["mlp"]\n[recipe]\nepoch = 3', 'unknown key "recipe.epoch". Did you mean "epochs"?'),
        ('contenders = ["mlp"]\n[data]\nnam = "x"', 'unknown key "data.nam". Did you mean "name"?'),
        ('contenders = ["mlp"]\n[recipe]\nlr = "fast"', "recipe.lr: input should be a valid number"),
        ('contenders = ["mlp"]\nseeds = 0', "seeds: "),
        (
            'contenders = ["mlp"]\nseeds = [-1]',
            "seeds[0]: input should be greater than or equal to 0, got -1.",
        ),
        (
            'contenders = ["mlp"]\nseeds = "auto now"',
            "seeds: expected a number of seeds such as 5, or a list",
        ),
        ('contenders = ["mlp"]\nlevel = 2', "level: input should be less than 1, got 2"),
        ('contenders = ["mlp", "mlp"]', "the contender 'mlp' is there twice; give one a label, as in b=mlp."),
        ('contenders = ["mlp("]', "is not closed at the end"),
        (
            'contenders = [{model = "mlp", lable = "x"}]',
            'unknown key "contenders[0].lable". Did you mean "label"?',
        ),
        ('contenders = [{model = "mlp", recipe = {lr = 0}}]', "lr: input should be greater than 0, got 0."),
        ('contenders = [{label = "x"}]', 'the key "contenders[0].model" is missing.'),
        ("contenders = [3]", "contenders[0]: input should be a valid dictionary"),
        ("contenders = [", "is not a TOML file"),
        (f'contenders = ["mlp"]\nseeds = {"9" * 5_000}', "is not a TOML file: Exceeds the limit"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(content, message, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(content)
    with pytest.raises(TiebreakError, match=re.escape(message)) as caught:
        read_study_file(path, {})
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(FULL, encoding="utf-8-sig")
    marked = read_study_file(path, {})
    path.write_text(FULL, encoding="utf-8")
    assert marked == read_study_file(path, {})


def test_paths_may_begin_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert interpret({"contenders": ["mlp"], "out": "~/study"}, {})[2] == tmp_path / "study"


def test_a_data_set_has_one_name_however_it_is_spelt():
    plans = [interpret({"contenders": ["mlp"]}, {"dataset": name})[0] for name in ("cifar10", "CIFAR-10")]
    assert plans[0] == plans[1] and plans[0].identity == plans[1].identity
    # What was skipped shows in the images' fingerprint; a study begun without is the same question.
    skipping = interpret({"contenders": ["mlp"]}, {"dataset": "cifar10", "skip_bad_images": True})[0]
    assert skipping.identity == plans[0].identity


def test_missing_files_folders_and_bytes_are_named(tmp_path):
    with pytest.raises(TiebreakError, match="no such study file"):
        read_study_file(tmp_path / "none.toml", {})
    with pytest.raises(TiebreakError, match="is a folder, expected a TOML file"):
        read_study_file(tmp_path, {})
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TiebreakError, match="is not a TOML file"):
        read_study_file(tmp_path / "bytes.toml", {})


def test_python_can_say_all_that_a_file_and_the_command_line_can(full):
    settings = {"seeds": [3, 5], "level": 0.9, "dataset": "digits", "val_size": 100, "device": "cpu"}
    content = sort_settings(settings | {"recipe": Recipe(epochs=9, optimizer="sgd"), "epochs": 7})
    small = {"model": "cnn(width=8)", "label": "small", "recipe": {"lr": 0.01, "epochs": 2}}
    study, execution, _ = interpret(content | {"contenders": ["mlp", small]}, {})
    from_file, of_file, _ = read_study_file(full, {})
    assert (study, execution) == (from_file, of_file)


def test_every_option_of_the_command_line_is_a_setting():
    from tiebreak.cli.options import SHARED

    assert set(SHARED) <= set(PLACES)


def test_an_unknown_setting_is_answered_with_the_nearest():
    with pytest.raises(StudyError, match=r'unknown setting "epoch"\. Did you mean "?epochs'):
        sort_settings({"epoch": 3})
