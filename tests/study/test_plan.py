"""Plans: names of contenders, validation, identity, folders."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tiebreak.errors import ModelError, StudyError, TiebreakError
from tiebreak.study.plan import Contender, Study, default_folder, make_recipe, make_study, parse_contender
from tiebreak.training.recipe.recipe import Recipe

labels = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,20}", fullmatch=True)
models = st.sampled_from(["mlp", "cnn", "cnn(width=64)", "mlp(hidden_dim=8, dropout=0.5)", "a.b:f(x='=,@')"])
printable = st.text(min_size=1, max_size=200).filter(str.isprintable)
RECIPE = Recipe()


def two(*texts: str, **fields) -> Study:
    return make_study(contenders=tuple(parse_contender(text, RECIPE) for text in texts), seeds=2, **fields)


@given(labels, models)
def test_label_and_model_are_told_apart(label, model):
    assert parse_contender(f"{label}={model}", RECIPE) == Contender(label=label, model=model, recipe=RECIPE)
    assert parse_contender(model, RECIPE).label == parse_contender(model, RECIPE).model == model


@given(st.text(max_size=60))
def test_any_text_is_a_contender_or_one_line_of_error(text):
    try:
        contender = parse_contender(text, RECIPE)
    except TiebreakError as error:
        assert "\n" not in str(error)
    else:
        assert parse_contender(contender.model, RECIPE).model == contender.model


@given(printable, printable)
def test_folders_are_plain_names_and_never_shared(one, other):
    assume(one != other)
    first, second = (Contender(label=label, model="mlp").folder for label in (one, other))
    assert first != second
    for folder in (first, second):
        assert len(folder) <= 100
        assert not folder.startswith(".")
        assert set(folder) <= set(string.ascii_letters + string.digits + "_.,=()+@-")


def test_spaces_and_quotes_do_not_make_another_contender():
    assert parse_contender("cnn( width = 64 )", RECIPE).label == "cnn(width=64)"


def test_a_number_of_seeds_means_the_first_ones():
    assert two("mlp", "cnn").seeds == (0, 1)
    assert make_study(contenders=[Contender(label="a", model="mlp")], seeds=(7, 3)).seeds == (7, 3)


def test_a_plan_survives_json():
    study = two("mlp", "wide=cnn(width=64)")
    assert Study.model_validate_json(study.model_dump_json()) == study


def test_identity_is_about_results_only():
    study = two("mlp", "cnn")
    assert study.identity == two("mlp", "cnn", data={"data_dir": "elsewhere"}).identity
    for other in (two("mlp", "cnn", level=0.9), two("mlp"), two("mlp", "cnn", data={"val_size": 7})):
        assert other.identity != study.identity
        assert default_folder(other) != default_folder(study)
    assert default_folder(study).name.startswith("mlp-vs-cnn-on-fashion-small-")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs: input should be greater than or equal to 1, got 0."),
        ({"lr": float("nan")}, "lr: input should be"),
        ({"lr": -1.0}, "lr: input should be greater than 0, got -1.0."),
        (
            {"optimizer": "adagrad"},
            "optimizer: input should be 'adam', 'adamw', 'sgd' or 'muon', got 'adagrad'.",
        ),
        ({"epoch": 3}, 'unknown key "epoch". Did you mean "epochs"?'),
        ({"batch_size": "many"}, "batch_size: input should be a valid integer"),
    ],
)
def test_a_wrong_recipe_is_said_in_one_line(change, message):
    with pytest.raises(StudyError) as caught:
        make_recipe(RECIPE, change)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_names_must_be_distinct():
    with pytest.raises(StudyError, match="the contender 'mlp' is there twice"):
        two("mlp", "mlp")
    with pytest.raises(StudyError, match="the seed 3 is there twice"):
        make_study(contenders=[Contender(label="a", model="mlp")], seeds=(3, 1, 3))


@pytest.mark.parametrize("text", ["=mlp", "a b=mlp", "-x=mlp", "a="])
def test_a_label_that_cannot_be_one_is_refused(text):
    with pytest.raises(ModelError):
        parse_contender(text, RECIPE)
