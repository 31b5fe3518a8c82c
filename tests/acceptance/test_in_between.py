"""What people do in between: edit the model, ask for more seeds, bring a stranger's folder."""

import json

import pytest

FAST = ("--dataset", "digits", "--epochs", 1, "--executor", "serial")
NET = "from torch import nn\n\ndef net(num_classes):\n    return nn.Sequential(nn.Flatten(), {layers})\n"
ONE = NET.format(layers="nn.Linear(64, num_classes)")
TWO = NET.format(layers="nn.Linear(64, 7), nn.ReLU(), nn.Linear(7, num_classes)")


@pytest.mark.parametrize(
    ("out", "seeds"), [((), 2), (("--out", "mine"), 3)], ids=["the same", "one more seed"]
)
def test_an_edited_model_gets_an_answer_of_its_own(tiebreak, tmp_path, caplog, out, seeds):
    """Its layers are others, and so is the table; the runs of the other contender are used again."""
    (tmp_path / "own.py").write_text(ONE)
    before = tiebreak("compare", "linear", "own.py:net", *FAST, "--seeds", 2, *out, "--json")
    (tmp_path / "own.py").write_text(TWO)
    after = tiebreak("compare", "linear", "own.py:net", *FAST, "--seeds", seeds, *out, "--json")
    assert (before.status, after.status) == (0, 0), after.stderr
    costs = [json.loads(done.stdout)["contenders"]["own:net"]["params"] for done in (before, after)]
    assert costs == [64 * 10 + 10, 64 * 7 + 7 + 7 * 10 + 10]
    assert after.stderr.count("Epoch 01") == seeds + (seeds - 2)
    assert "own:net: its model's code has changed since seed 0, 1; training anew" in caplog.text
    assert "seeds were added" not in after.stdout  # nobody has seen this pair


def test_one_more_seed_trains_one_more_seed(tiebreak):
    for seeds, trained in ((2, 4), (3, 2), (3, 0)):
        done = tiebreak("compare", "linear", "mlp(hidden_dim=4)", *FAST, "--seeds", seeds)
        assert done.stdout.count("Epoch 01") == trained
        assert ("seeds were added by hand (2 -> 3)" in done.stdout) == (seeds == 3)
        assert done.stdout.count("used again from") == (4 if trained == 2 else 0)
    assert "(6 of 6 runs)" not in done.stdout


def test_a_strangers_words_do_not_steer_the_terminal(tiebreak, tmp_path):
    assert tiebreak("compare", "linear", "mlp(hidden_dim=4)", *FAST, "--seeds", 1, "--out", "s").status == 0
    words = "\x1b]0;owned\x07 and\u202e back\x00"
    said = {"a": "linear", "b": "mlp(hidden_dim=4)", "sentences": [words], "study": "s", "seeds": [0]}
    said["dataset"] = {"name": "x", "fingerprint": "0", "verified": True}
    (tmp_path / "s" / "explain.json").write_text(json.dumps(said))
    done = tiebreak("report", "s")
    assert (done.status, "owned" in done.stdout) == (0, True)
    assert not set(done.stdout + done.stderr) & set("\x1b\x07\u202e\x00")
    (tmp_path / "s" / "explain.json").write_text(json.dumps({"sentences": {words: 1}, "a": 3}))
    done = tiebreak("report", "s")
    assert (done.status, done.stderr.count("\n")) == (2, 1)
    assert not set(done.stderr) & set("\x1b\x07\u202e\x00")
