"""Whole commands: seeds until decided, a margin, a baseline, seeds added by hand."""

import json
import re

import pytest
from PIL import Image

from tiebreak.data.catalog import load_dataset
from tiebreak.study.driver import run_study
from tiebreak.study.plan import Execution
from tiebreak.study.store import read_study
from tiebreak.study.study_file import interpret

CLEAR = ("linear", "mlp(hidden_dim=2)", "--dataset", "digits", "--epochs", 4, "--lr", 0.02)
CLOSE = ("linear", "same=linear", "--dataset", "digits", "--epochs", 1)


def answer(done):
    assert done.status == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_seeds_until_decided(tiebreak, tmp_path):
    done = tiebreak("compare", *CLEAR, "--seeds", "auto", "--out", "s")
    assert done.status == 0, done.stderr
    assert re.search(r"^linear beats mlp\(hidden_dim=2\) by .+; \d+ paired seeds", done.stdout, re.MULTILINE)
    assert "stopped at the look at" in done.stdout
    assert "pairing by seed" in done.stdout
    reported = answer(tiebreak("report", "s", "--json"))
    looks = reported["looks"]
    assert (looks["declared"], looks["stopped"]) == ([3, 5, 8, 12, 20, 30], True)
    assert [decision["reason"] for decision in looks["decisions"]] == ["a better"]
    assert len(list((tmp_path / "s" / "runs").rglob("run.json"))) == 2 * len(looks["seeds"]) < 60
    assert reported["contenders"]["linear"]["missing"] == []
    [pair] = reported["comparisons"]
    assert (pair["verdict"], pair["n_seeds"]) == ("a better", len(looks["seeds"]))
    assert pair["ci_low"] > 0
    assert len(pair["seed_differences"]) == pair["n_seeds"]
    with Image.open(tmp_path / "s" / "figures" / "differences.png") as picture:
        assert picture.width > 1000
    # The plan had its looks before the first run.
    plan = json.loads((tmp_path / "s" / "study.json").read_text())["study"]
    assert plan["looks"] == [3, 5, 8, 12, 20, 30]


def test_an_interrupted_study_that_was_looked_at_ends_as_one_in_one_go(tiebreak, tmp_path):
    arguments = (*CLOSE, "--seeds", "auto", "--looks", "2,3", "--equivalence", 0.5)
    whole = answer(tiebreak("compare", *arguments, "--out", "whole", "--json"))
    content = {"contenders": ["linear", "same=linear"], "data": {"name": "digits"}, "recipe": {"epochs": 1}}
    study, _, _ = interpret(content | {"seeds": "auto", "looks": [2, 3], "equivalence": 0.5}, {})
    for _ in run_study(study, load_dataset("digits"), tmp_path / "s", Execution(), seeds=[0]):
        pass
    between = answer(tiebreak("report", "s", "--json"))
    assert between["comparisons"] == []
    assert between["contenders"]["linear"]["missing"] == [1]
    assert "nothing is judged before the first look" in between["notes"][0]
    resumed = answer(tiebreak("compare", *arguments, "--out", "s", "--json"))
    assert resumed["comparisons"] == whole["comparisons"]
    assert resumed["looks"] == whole["looks"]
    # The same model twice cannot differ by any seed.
    assert [pair["verdict"] for pair in whole["comparisons"]] == ["equivalent"]


def test_seeds_added_by_hand_are_marked_and_fewer_refused(tiebreak, tmp_path):
    assert tiebreak("compare", *CLOSE, "--seeds", 2, "--out", "s").status == 0
    more = tiebreak("compare", *CLOSE, "--seeds", 3, "--out", "s")
    assert more.status == 0, more.stderr
    assert (
        "seeds were added by hand (2 -> 3), so the stated error rate is no longer guaranteed" in more.stdout
    )
    reported = answer(tiebreak("report", "s", "--json"))
    assert reported["seeds_added"] == [[2, 3]]
    assert reported["comparisons"][0]["n_seeds"] == 3
    header = read_study(tmp_path / "s").header
    assert (header.seeds_added[0].before, header.seeds_added[0].now) == (2, 3)
    for other, difference in (
        (("--seeds", 2), "seeds was [0, 1, 2], now [0, 1]"),
        (("--seeds", 4, "--equivalence", 0.1), "was [0, 1, 2], now"),
        (("--seeds", "auto", "--max-seeds", 4), "was [0, 1, 2], now"),
        (("--seeds", 3, "--baseline", "same"), 'baseline was null, now "same"'),
    ):
        refused = tiebreak("compare", *CLOSE, *other, "--out", "s")
        assert refused.status == 2
        assert difference in refused.stderr
    assert read_study(tmp_path / "s").header == header


def test_a_file_declares_margin_baseline_and_looks(tiebreak, tmp_path):
    (tmp_path / "s.toml").write_text(
        'contenders = ["linear", "same=linear", "small=mlp(hidden_dim=4)"]\nseeds = "auto"\nmax_seeds = 3\n'
        'equivalence = 0.02\nbaseline = "same"\nout = "s"\n[data]\nname = "digits"\n[recipe]\nepochs = 1\n'
    )
    done = tiebreak("run", "s.toml")
    assert done.status == 0, done.stderr
    assert "may be best" in done.stdout
    assert "letters" not in done.stdout
    reported = answer(tiebreak("report", "s", "--json"))
    assert {pair["b"] for pair in reported["comparisons"]} == {"same"}
    assert {pair["margin"] for pair in reported["comparisons"]} == {0.02}
    assert reported["looks"]["declared"] == [3]


def test_three_contenders_are_ranked_with_letters(tiebreak):
    done = tiebreak("compare", "linear", "same=linear", "small=mlp(hidden_dim=4)", *CLOSE[2:], "--seeds", 2)
    assert done.status == 0, done.stderr
    assert re.search(r"contender +test acc +letters +may be best", done.stdout)
    assert "share a letter could not be told apart" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", "some"), "expected a number from 1 on, or auto, got 'some'"),
        (("--looks", "3,5"), 'looks and max_seeds are for seeds = "auto"'),
        (("--seeds", 3, "--max-seeds", 5), 'looks and max_seeds are for seeds = "auto"'),
        (("--seeds", "auto", "--looks", "5,3"), "looks must be rising numbers of seeds from 2 on"),
        (
            ("--seeds", "auto", "--looks", "three"),
            "expected rising numbers of seeds such as 3,6,10, got 'three'",
        ),
        (("--seeds", "auto", "--max-seeds", 1), "--max-seeds"),
        (("--equivalence", 0), "equivalence: input should be greater than 0, got 0.0."),
        (("--equivalence", 1.5), "equivalence: input should be less than 1, got 1.5."),
        (("--baseline", "cnn"), "the baseline 'cnn' is no contender; choose from linear, same."),
    ],
)
def test_a_rule_that_cannot_be_is_refused_in_one_line(arguments, message, tiebreak, tmp_path):
    done = tiebreak("compare", *CLOSE, *arguments)
    assert (done.status, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_seeds_until_decided_need_two_contenders(tiebreak):
    done = tiebreak("compare", "linear", *CLOSE[2:], "--seeds", "auto")
    assert (done.status, done.stderr.count("\n")) == (2, 1)
    assert "name at least 2 contenders" in done.stderr
