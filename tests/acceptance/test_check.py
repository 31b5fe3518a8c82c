"""`tiebreak check`: a line a claim, and an exit status for a pipeline."""

import json

import numpy as np
import pytest

from synthetic_study import write_study
from tiebreak.study.plan import Contender, make_study


@pytest.fixture
def study(tmp_path):
    """Two contenders, 80% against 60%, and 100 against 200 parameters."""
    rng = np.random.default_rng(3)
    names = ("cnn", "mlp")
    plan = make_study(contenders=[Contender(label=name, model="linear") for name in names], seeds=4)
    correct = {name: rng.random((4, 2_000)) < share for name, share in zip(names, (0.8, 0.6), strict=True)}
    return write_study(tmp_path / "study", plan, correct)


@pytest.mark.parametrize(
    ("claims", "findings", "status"),
    [
        (["cnn - mlp >= 0.15", "cnn.params <= mlp.params"], ["shown", "shown"], 0),
        (["cnn - mlp >= 15%", "cnn.params > mlp.params"], ["shown", "refuted"], 1),
        (["cnn - mlp >= 0.2"], ["not enough data"], 3),
        (["cnn - mlp >= 0.2", "mlp > cnn"], ["not enough data", "refuted"], 1),
        (["cnn ~ mlp within 40 points", "cnn.test_loss <= mlp.test_loss"], ["shown", "shown"], 0),
        (["cnn.gap - mlp.gap <= 0"], ["shown"], 0),
    ],
)
def test_a_line_for_each_claim_and_a_status_for_all(claims, findings, status, study, tiebreak):
    done = tiebreak("check", study, *claims)
    assert done.status == status
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == findings
    for line, claim in zip(lines, claims, strict=True):
        assert claim in line
        assert "CI" in line or "exact" in line


def test_json_has_the_numbers(study, tiebreak):
    done = tiebreak("check", study, "cnn - mlp >= 0.15", "cnn.params <= 100", "--json")
    assert done.status == 0
    assert done.stdout.count("\n") == 1
    answer = json.loads(done.stdout)
    measured, exact = answer["claims"]
    assert 0.15 <= measured["low"] < measured["value"] < measured["high"] < 0.25
    assert (measured["finding"], measured["level"], measured["n_seeds"]) == ("shown", 0.95, 4)
    assert (exact["value"], exact["low"], exact["n_seeds"]) == (100, None, None)


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("cnn - mlp => 0.15", "cannot read the claim"),
        ("cnm > mlp", 'no contender is called "cnm". Did you mean "cnn"?'),
        ("cnn.parms <= 3", 'nothing called "parms" was measured of cnn. Did you mean "params"?'),
        ("__import__('os')", "the claim"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_an_error(claim, message, study, tiebreak):
    done = tiebreak("check", study, claim)
    assert (done.status, done.stderr.count("\n"), done.stdout) == (2, 1, "")
    assert message in done.stderr


def test_a_folder_without_a_study_is_an_error(tiebreak):
    done = tiebreak("check", "nowhere", "cnn > mlp")
    assert done.status == 2
    assert "nowhere: no such folder" in done.stderr


def test_a_study_as_markdown_and_latex_for_a_paper(study, tiebreak):
    table = tiebreak("report", study, "--markdown")
    assert table.status == 0
    assert table.stdout.startswith("| contender | val acc | test acc |")
    assert "\n- cnn beats mlp by " in table.stdout
    factors = "the seed (initial weights, split, order, augmentation), 4 a contender, and the choice of 2,000"
    assert f"Factors of variability: {factors} test examples. " in table.stdout
    assert "Not covered: the choice of hyperparameters and of the training images." in table.stdout
    paper = tiebreak("report", study, "--latex")
    assert paper.status == 0
    assert r"\begin{tabular}" in paper.stdout and r"\end{tabular}" in paper.stdout
    assert r"cnn beats mlp by " in paper.stdout and r"95\% CI" in paper.stdout
    assert "|" not in paper.stdout
    both = tiebreak("report", study, "--latex", "--markdown")
    assert (both.status, both.stdout) == (2, "")
    assert "stdout holds one form; give one of --json, --markdown and --latex." in both.stderr
