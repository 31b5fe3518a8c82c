"""A study judged through its own answers, written to a file, is the study again, to the last digit."""

import json

import numpy as np
import pytest

from synthetic_study import write_study
from tiebreak.actions.judge import as_json, judge, read_results
from tiebreak.actions.judge_files import judge as judge_any
from tiebreak.results.export import export_results
from tiebreak.results.kept import default_folder, is_kept, read_kept
from tiebreak.study.plan import Contender, make_study

NOT_IN_ANSWERS = {
    "recipe",
    "val_acc",
    "val_loss",
    "gap",
    "params",
    "flops",
    "train_seconds",
    "images_per_second",
    "scope",
}


@pytest.fixture
def study(tmp_path):
    rng = np.random.default_rng(3)
    names = ("cnn", "mlp", "linear")
    plan = make_study(
        contenders=[Contender(label=n, model="linear") for n in names], seeds=4, equivalence=0.01
    )
    correct = {n: rng.random((4, 500)) < share for n, share in zip(names, (0.8, 0.7, 0.69), strict=True)}
    return write_study(tmp_path / "study", plan, correct)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl", "npz"])
def test_table_verdict_and_json_are_those_of_the_study(suffix, study, tmp_path):
    path = tmp_path / f"answers.{suffix}"
    export_results(read_results(study), path)
    settings = {"classes": "cat,dog,ship"} if suffix == "npz" else {}
    again = judge_any(path, out=tmp_path / "again", seeds="paired", equivalence=0.01, **settings)
    expected, found = as_json(judge(study)), as_json(again)
    assert found["ranking"] == expected["ranking"]
    for mine, theirs in zip(found["comparisons"], expected["comparisons"], strict=True):
        assert {k: v for k, v in mine.items() if k not in NOT_IN_ANSWERS} == {
            k: v for k, v in theirs.items() if k not in NOT_IN_ANSWERS
        }
    for label, theirs in expected["contenders"].items():
        mine = found["contenders"][label]
        for key, value in theirs.items():
            assert mine[key] is None if key in NOT_IN_ANSWERS else mine[key] == value, key
    assert [j.sentence for j in again.judgements] == [j.sentence for j in judge(study).judgements]


def test_a_kept_folder_is_read_back_as_it_was(study, tmp_path):
    export_results(read_results(study), tmp_path / "answers.parquet")
    folder = tmp_path / "kept"
    first = judge_any(tmp_path / "answers.parquet", out=folder)
    assert is_kept(folder)
    results, told = read_kept(folder)
    assert "prediction = prediction" in told
    assert default_folder(results) == default_folder(first.results)
    again = judge_any(folder)
    assert json.dumps(as_json(again)["comparisons"]) == json.dumps(as_json(first)["comparisons"])
    for label in first.results.labels:
        for seed, run in first.results.of(label).runs.items():
            np.testing.assert_array_equal(results.of(label).runs[seed].probs, run.probs)


def test_a_damaged_kept_folder_is_refused_in_one_line(study, tmp_path):
    from tiebreak.errors import EvidenceError

    export_results(read_results(study), tmp_path / "answers.parquet")
    folder = tmp_path / "kept"
    judge_any(tmp_path / "answers.parquet", out=folder)
    kept = json.loads((folder / "judged.json").read_text())
    for change, message in (
        ({"schema_version": 9}, "schema version 9, expected 1"),
        ({"contenders": [{"label": "cnn", "seeds": [7]}]}, "0.7.answers is missing"),
        ({"examples": {"name": "x", "class_names": ["cat"]}}, "goes beyond the 1 classes"),
        ({"measure": "guesses"}, "is damaged"),
    ):
        (folder / "judged.json").write_text(json.dumps(kept | change))
        with pytest.raises(EvidenceError) as caught:
            judge_any(folder)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    (folder / "judged.json").write_text(json.dumps(kept))
    (folder / "results.npz").write_bytes((folder / "results.npz").read_bytes()[:300])
    with pytest.raises(EvidenceError, match="damaged"):
        judge_any(folder)
