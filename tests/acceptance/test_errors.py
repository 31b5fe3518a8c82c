"""A bad name, folder, file, key or value: one line that says what to do, exit status 2, no traceback."""

import subprocess
import sys

import pytest

FAST = ("--dataset", "digits", "--seeds", 1, "--epochs", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", "mlp", "cn", *FAST), 'Unknown model "cn". Did you mean "cnn"?'),
        (("compare", "mlp", "resnet18", *FAST), "Your own: path/to/file.py:factory"),
        (("compare", "mlp", "cnn(width=wide)", *FAST), "arguments must be literals"),
        (("compare", "mlp", "cnn(width=8", *FAST), "is not closed at the end"),
        (("compare", "mlp", "cnn(depth=8)", *FAST), "It takes: width, dropout."),
        (("compare", "mlp", "mlp", *FAST), "the contender 'mlp' is there twice"),
        (("compare", "mlp", "a b=cnn", *FAST), "is no label"),
        (("compare", "missing.py:net", *FAST), "missing.py: no such file"),
        (("compare",), "Missing argument"),
        (("compare", "mlp", "--dataset", "cifar01"), 'Did you mean "cifar10"?'),
        (("compare", "mlp", "--dataset", "folder:nowhere"), "nowhere"),
        (("compare", "mlp", "--dataset", "arrays:none.npz"), "none.npz"),
        (("compare", "mlp", "--dataset", "cifar10", "--data-dir", "nowhere"), "nowhere"),
        (("compare", "mlp", "--epochs", 0), "--epochs"),
        (("compare", "mlp", "--epochs", "many"), "--epochs"),
        (("compare", "mlp", "--lr", -1), "recipe.lr: input should be greater than 0"),
        (("compare", "mlp", "--lr", "nan"), "recipe.lr"),
        (("compare", "mlp", "--batch-size", 0), "--batch-size"),
        (("compare", "mlp", "--seeds", 0), "--seeds"),
        (("compare", "mlp", "--val-size", 5000, *FAST), "val_size must be at least 1 and below"),
        (("compare", "mlp", "--device", "tpu", *FAST), 'Unknown device "tpu"'),
        (("compare", "mlp", "--device", "cuda", *FAST), "no cuda device; use --device cpu"),
        (("compare", "mlp", "--no-such-option"), "No such option"),
        (("run", "none.toml"), "none.toml: no such study file"),
        (("report", "nowhere"), "nowhere: no such folder"),
        (("report", "."), "holds no study: there is no study.json in it"),
        (("anatomy", "nn"), 'Unknown model "nn"'),
        (("data", "show", "nothing"), "Unknown data set"),
        (("data", "fetch", "nothing"), "Unknown data set"),
        (("comparee",), "No such command"),
    ],
)
def test_one_line_says_what_to_do(arguments, message, tiebreak):
    done = tiebreak(*arguments)
    assert done.status == 2
    assert message in done.stderr
    assert done.stderr.startswith("tiebreak: ")
    assert done.stderr.count("\n") == 1
    assert not done.stdout


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("deep-mlp(norm='no')", "tiebreak: deep-mlp: norm must be True or False, got 'no'.\n"),
        ("airnet(whitening=0)", "tiebreak: airnet: whitening must be True or False, got 0.\n"),
    ],
)
def test_a_switch_of_a_model_is_true_or_false(model, message):
    # In a process of its own, as a user has it: the tests' own checker of types would come first.
    command = [sys.executable, "-m", "tiebreak", "models", model, "--dataset", "shapes"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, message)


def test_a_folder_that_holds_something_else_is_left_alone(tiebreak, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    done = tiebreak("compare", "linear", *FAST, "--out", "mine")
    assert (done.status, done.stderr.count("\n")) == (2, 1)
    assert "mine is not empty and holds no study; choose another --out." in done.stderr


def test_another_study_in_the_folder_is_told_apart(tiebreak):
    assert tiebreak("compare", "linear", *FAST, "--out", "s").status == 0
    done = tiebreak("compare", "linear", *FAST, "--lr", 0.5, "--out", "s")
    assert done.status == 2
    assert "another study (contenders[0].recipe.lr was 0.001, now 0.5); choose another --out." in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("study.json", "{", "study.json is damaged"),
        ("study.json", '{"schema_version": 99}', "it is of a newer tiebreak; update to read it"),
        ("runs/linear/seed-0/run.json", "[]", "run.json is damaged"),
        ("runs/linear/seed-0/predictions.npz", "PK nonsense", "predictions.npz was changed after "),
    ],
)
def test_a_damaged_file_is_named(name, text, message, tiebreak, tmp_path):
    arguments = ("compare", "linear", "mlp(hidden_dim=4)", *FAST, "--out", "s")
    assert tiebreak(*arguments).status == 0
    (tmp_path / "s" / name).write_text(text)
    done = tiebreak("report", "s")
    assert (done.status, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
