"""Seeds until decided, a margin, a baseline, seeds added by hand: from the plan to what is printed."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from tiebreak.actions.judge import Verdicts, as_json, judge
from tiebreak.actions.run import seeds_to_train
from tiebreak.data.catalog import load_dataset
from tiebreak.errors import StudyError
from tiebreak.study.driver import run_study
from tiebreak.study.plan import Execution
from tiebreak.study.store import read_study
from tiebreak.study.study_file import interpret, read_study_file

CLOSE = {"contenders": ["linear", "same=linear"], "data": {"name": "digits"}, "recipe": {"epochs": 1}}


def train(folder: Path, content: dict, seeds: list[int] | None = None) -> Verdicts:
    """What `compare` does, without its figures; `seeds`: only these, whatever the rule says."""
    study, _, _ = interpret(content, {})
    data = load_dataset("digits")
    for wanted in [seeds] if seeds else seeds_to_train(study, folder):
        for _ in run_study(study, data, folder, Execution(), wanted):
            pass
    return judge(folder)


def test_seeds_until_decided(tiebreak, tmp_path):
    clear = ("linear", "mlp(hidden_dim=2)", "--dataset", "digits", "--epochs", 4, "--lr", 0.02)
    done = tiebreak("compare", *clear, "--seeds", "auto", "--out", "s", "--json")
    assert done.status == 0, done.stderr
    assert re.search(r"^linear beats mlp\(hidden_dim=2\) by .+; \d+ paired seeds", done.stderr, re.MULTILINE)
    assert "stopped at the look at" in done.stderr
    assert "from the seeds, the rest from the choice of test images" in done.stderr
    reported = json.loads(done.stdout.splitlines()[-1])
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
    checked = tiebreak("check", "s", f"{pair['a']} >= 0")
    assert checked.status == 0, checked.stderr
    assert checked.stderr == "Note: the study could stop at 6 looks; the level allows for them all.\n"
    # The plan had its looks before the first run.
    plan = json.loads((tmp_path / "s" / "study.json").read_text())["study"]
    assert plan["looks"] == [3, 5, 8, 12, 20, 30]


def test_an_interrupted_study_that_was_looked_at_ends_as_one_in_one_go(tmp_path):
    content = CLOSE | {"seeds": "auto", "looks": [2, 3], "equivalence": 0.5}
    whole = as_json(train(tmp_path / "whole", content))
    between = as_json(train(tmp_path / "s", content, seeds=[0]))
    assert between["comparisons"] == []
    assert between["contenders"]["linear"]["missing"] == [1]
    assert "nothing is judged before the first look" in " ".join(between["notes"])
    resumed = as_json(train(tmp_path / "s", content))
    assert resumed["comparisons"] == whole["comparisons"]
    assert resumed["looks"] == whole["looks"]
    # The same model twice cannot differ by any seed.
    assert [pair["verdict"] for pair in whole["comparisons"]] == ["equivalent"]


def test_seeds_added_by_hand_are_marked_and_fewer_refused(tmp_path):
    folder = tmp_path / "s"
    train(folder, CLOSE | {"seeds": 2})
    more = train(folder, CLOSE | {"seeds": 3})
    said = "seeds were added by hand (2 -> 3), so the stated error rate is no longer guaranteed"
    assert said in str(more)
    assert as_json(more)["seeds_added"] == [[2, 3]]
    assert as_json(more)["comparisons"][0]["n_seeds"] == 3
    header = read_study(folder).header
    for other, difference in (
        ({"seeds": 2}, r"seeds was \[0, 1, 2\], now \[0, 1\]"),
        ({"seeds": 4, "equivalence": 0.1}, r"seeds was \[0, 1, 2\], now \[0, 1, 2, 3\]"),
        ({"seeds": "auto", "max_seeds": 4}, r"seeds was \[0, 1, 2\], now \[0, 1, 2, 3\]"),
        ({"seeds": 3, "baseline": "same"}, 'baseline was null, now "same"'),
    ):
        with pytest.raises(StudyError, match=difference):
            train(folder, CLOSE | other)
    assert read_study(folder).header == header


def test_a_file_declares_margin_baseline_and_looks(tmp_path):
    (tmp_path / "s.toml").write_text(
        'contenders = ["linear", "same=linear", "small=mlp(hidden_dim=4)"]\nseeds = "auto"\nmax_seeds = 6\n'
        'equivalence = 0.02\nbaseline = "same"\n'
    )
    study, _, _ = read_study_file(tmp_path / "s.toml", {"max_seeds": 4})
    assert (study.looks, study.seeds, study.baseline, study.equivalence) == (
        (3, 4),
        (0, 1, 2, 3),
        "same",
        0.02,
    )
    study, _, _ = read_study_file(tmp_path / "s.toml", {"looks": (2, 9)})
    assert study.looks == (2, 6)


def test_three_contenders_are_ranked(tmp_path):
    three = CLOSE | {"contenders": ["linear", "same=linear", "small=mlp(hidden_dim=4)"], "seeds": 3}
    shown = str(train(tmp_path / "all", three))
    assert re.search(r"contender +test acc +letters +may be best", shown)
    assert "Contenders that share a letter could not be told apart." in shown
    results = train(tmp_path / "baseline", three | {"baseline": "same"})
    assert "letters" not in str(results)
    assert repr(results) == str(results)
    assert "may be best" in str(results)
    assert {pair["b"] for pair in as_json(results)["comparisons"]} == {"same"}
    assert any(" nats of loss " in judgement.sentence for judgement in results.compare("loss"))


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
    done = tiebreak("compare", "linear", "same=linear", "--dataset", "digits", *arguments)
    assert (done.status, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_seeds_until_decided_need_two_contenders(tiebreak):
    done = tiebreak("compare", "linear", "--dataset", "digits", "--seeds", "auto")
    assert (done.status, done.stderr.count("\n")) == (2, 1)
    assert "name at least 2 contenders" in done.stderr
