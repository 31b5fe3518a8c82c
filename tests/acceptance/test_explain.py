"""`explain` from the command to the files it leaves, on real (small) trainings."""

import html
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import tiebreak as tb
from tiebreak.actions.explain import explain
from tiebreak.cli import main
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.data.shapes import draw_shapes
from tiebreak.errors import StudyError
from tiebreak.evidence.why.answers import Explanation
from tiebreak.study.store import read_study

EVERYTHING = "arrangement,ladder,control,size,data,shift"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageDataset]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIEBREAK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield tb.load_dataset("digits")


@pytest.fixture(scope="module")
def everything(digits: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> Explanation:
    return explain(
        "mlp(hidden_dim=32)",
        "cnn(width=4)",
        digits,
        ask=EVERYTHING,
        seeds=2,
        epochs=1,
        batch_size=32,
        lr=3e-3,
        device="cpu",
        out=tmp_path_factory.mktemp("explain") / "all",
        progress=False,
    )


def test_all_questions_are_answered_in_files_and_figures(everything: Explanation) -> None:
    folder = Path(everything.results.source)
    content = json.loads((folder / "explain.json").read_text())
    assert set(EVERYTHING.split(",")) <= set(content)
    assert {"lead", "lead_permuted", "difference", "ci_low", "ci_high", "share"} <= set(
        content["arrangement"]
    )
    assert content["arrangement"]["self_check"]["model"] == "mlp(hidden_dim=32)"
    assert [step["from"] for step in content["ladder"]] == ["mlp(hidden_dim=32)", "local(width=4)"]
    assert [point["epochs"] for point in content["data"]["points"]] == [32, 16, 8, 4, 2, 1]
    assert {point["distortion"] for point in content["shift"]} == {
        "shift",
        "rotate",
        "noise",
        "blur",
        "occlude",
    }
    names = {path.name for path in (folder / "figures").iterdir()}
    figures = ("permutation", "ladder", "control", "data", "shift")
    assert names == {f"{name}.{kind}" for name in figures for kind in ("png", "svg")}
    page = (folder / "report.html").read_text()
    assert everything.sentences[0] in html.unescape(page)


def test_the_numbers_are_those_of_the_stored_runs(everything: Explanation) -> None:
    results, answer = everything.results, everything.arrangement
    assert answer is not None and everything.ladder is not None

    def accuracy(label: str) -> float:
        return float(np.mean([runs.mean() for runs in results.correct(label).values()]))

    a, b = "mlp(hidden_dim=32)", "cnn(width=4)"
    assert answer.lead.difference == pytest.approx(accuracy(b) - accuracy(a))
    permuted = accuracy(f"{b}@permute-pixels") - accuracy(f"{a}@permute-pixels")
    assert answer.lead_permuted.difference == pytest.approx(permuted)
    assert answer.difference.difference == pytest.approx(answer.lead.difference - permuted)
    gains = [step.gain.difference for step in everything.ladder.steps]
    assert sum(gains) == pytest.approx(answer.lead.difference)


def test_distorted_images_were_shown_to_the_stored_weights(everything: Explanation) -> None:
    assert everything.shift is not None and everything.arrangement is not None
    plain = [point for point in everything.shift.points if point.strength == 0]
    assert {point.lead.difference for point in plain} == {everything.arrangement.lead.difference}
    strongest = [point for point in everything.shift.points if point.distortion == "shift"][-1]
    assert strongest.accuracy_a.mean < plain[0].accuracy_a.mean


def test_what_was_trained_is_used_again(everything: Explanation, digits: ImageDataset) -> None:
    folder = Path(everything.results.source)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*/run.json")}
    before |= {path: path.stat().st_mtime_ns for path in folder.glob("distorted/*/*.npz")}
    again = explain(
        "mlp(hidden_dim=32)",
        "cnn(width=4)",
        digits,
        ask="ladder,shift",
        seeds=2,
        epochs=1,
        batch_size=32,
        lr=3e-3,
        device="cpu",
        out=folder,
        progress=False,
    )
    assert again.ladder == everything.ladder and again.shift == everything.shift
    assert again.arrangement is None
    assert len(before) == 2 * 18 + 4
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    "settings", [{"tune": "lr"}, {"equal": "flops"}, {"vary": "data"}, {"also_test": ["digits"]}]
)
def test_what_it_does_not_ask_about_is_refused(settings: dict[str, object], digits: ImageDataset) -> None:
    (name,) = settings
    with pytest.raises(StudyError, match=f"on the data's own parts; leave out {name}"):
        explain("mlp", "cnn", digits, **settings)


def test_a_folder_of_another_recipe_is_refused(everything: Explanation, digits: ImageDataset) -> None:
    with pytest.raises(
        StudyError, match=r"holds another study \(contenders\[0\]\.recipe\.epochs was 1, now 2\)"
    ):
        explain(
            "mlp(hidden_dim=32)",
            "cnn(width=4)",
            digits,
            seeds=2,
            epochs=2,
            batch_size=32,
            lr=3e-3,
            out=Path(everything.results.source),
        )


def test_more_seeds_and_questions_join_what_is_there(digits: ImageDataset, tmp_path: Path) -> None:
    settings = {"epochs": 1, "out": tmp_path / "grows", "device": "cpu", "progress": False}
    explain("linear", "cnn(width=2)", digits, ask="arrangement", seeds=1, **settings)
    first = (tmp_path / "grows" / "runs" / "linear" / "seed-0" / "run.json").stat().st_mtime_ns
    grown = explain("linear", "cnn(width=2)", digits, ask="ladder", seeds=2, **settings)
    assert grown.ladder is not None and grown.ladder.lead.n_seeds == 2
    assert (tmp_path / "grows" / "runs" / "linear" / "seed-0" / "run.json").stat().st_mtime_ns == first
    assert read_study(tmp_path / "grows").study.seeds == (0, 1)


def test_the_cue_that_is_drawn_is_the_cue_that_is_found(tmp_path: Path) -> None:
    """Where only the arrangement tells the class the CNN's lead needs it; a permutation takes it all."""
    whole = draw_shapes(jitter=6, noise=0.1)
    few = make_dataset(
        "shapes",
        whole.train_images[:2_500],
        whole.train_labels[:2_500],
        whole.test_images[:500],
        whole.test_labels[:500],
        whole.class_names,
    )
    answer = explain(
        "mlp(hidden_dim=32)",
        "cnn(width=8)",
        few,
        ask="arrangement",
        seeds=2,
        epochs=4,
        lr=4e-3,
        batch_size=64,
        device="cpu",
        out=tmp_path / "study",
        progress=False,
    ).arrangement
    assert answer is not None
    assert answer.lead.difference > 0.2
    assert answer.difference.difference >= 0.9 * answer.lead.difference


def test_a_permutation_commutes_with_training_for_the_mlp(digits: ImageDataset, tmp_path: Path) -> None:
    """Within noise an MLP learns permuted images as well: only the order of its inputs is another."""
    results = tb.compare(
        ["mlp(hidden_dim=32)", "mlp(hidden_dim=32)@permute-pixels"],
        digits,
        seeds=4,
        epochs=3,
        lr=3e-3,
        out=tmp_path / "study",
        progress=False,
    )
    comparison = results.ranking and results.ranking.pairs[0].comparison
    assert comparison is not None and abs(comparison.difference) < 0.03
    weights = [
        torch.from_numpy(correct).float().mean()
        for correct in results.results.correct("mlp(hidden_dim=32)").values()
    ]
    assert min(weights) > 0.8


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tiebreak", *arguments])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command_says_a_paragraph_and_ends_with_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--dataset", "digits", "--epochs", "2", "--ask", "arrangement", "--budget", "2s", "--json")
    assert command(monkeypatch, "explain", "linear", "cnn(width=2)", *options) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out.splitlines()[-1])
    assert {"lead", "lead_permuted", "difference", "ci_low", "ci_high", "share"} <= set(answer["arrangement"])
    assert "Budget 2 s: picked" in err and "Self-check" in err
    folder = Path(answer["study"])
    assert folder.parent.name == "tiebreak-studies" and folder.name.startswith("explain-linear-cnn")
    assert json.loads((folder / "budget.json").read_text())["budget_seconds"] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ask", "why"], '--ask: unknown question "why"'),
        (["--budget", "soon"], "--budget must be a time such as 90s"),
        (["--budget", "1m", "--seeds", "2"], "--budget picks the seeds; leave out --seeds"),
    ],
)
def test_a_wrong_option_is_one_line(
    options: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "explain", "mlp", "cnn", "--dataset", "digits", *options) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_transforms_in_a_study_file_and_on_the_command_line_mean_the_same(tmp_path: Path) -> None:
    from tiebreak.study.study_file import read_study_file

    file = tmp_path / "study.toml"
    file.write_text(
        'contenders = ["cnn@blur(1)@test:shift(2)", {model = "cnn", label = "same", train_fraction = 0.5, '
        'transforms = ["blur(1.0)", "test:shift(2)"]}]\n'
    )
    one, other = read_study_file(file, {})[0].contenders
    assert one.label == "cnn@blur(1.0)@test:shift(2)"
    assert one.transforms == other.transforms == ("blur(1.0)", "test:shift(2)")
    assert (one.model, other.model, other.train_fraction) == ("cnn", "cnn", 0.5)
    file.write_text('contenders = [{model = "cnn", transforms = ["blurr(1)"]}]\n')
    with pytest.raises(StudyError, match=r'Unknown transform "blurr"\. Did you mean "blur"'):
        read_study_file(file, {})
