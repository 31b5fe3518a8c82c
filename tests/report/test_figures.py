"""Figures: text is text, everybody is in the legend, and many contenders stay small."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tiebreak.report.figures.curves import plot_comparison, plot_history, save_figures
from tiebreak.report.figures.differences import plot_differences, save_differences
from tiebreak.report.figures.style import as_text, save_figure
from tiebreak.report.text.explained import Explained, explanation_as_json, read_explanation
from tiebreak.report.text.findings import Findings
from tiebreak.results.run import History

ODD = ["cost $5 $\\frac$ up", "_hidden", "a_1^2 $x", "日本", "<b>&amp;"]  # two scripts, two markups


def history(accuracy: float) -> History:
    return {
        "train_loss": [2.0, 1.0],
        "val_loss": [2.1, 1.2],
        "train_acc": [0.5, accuracy],
        "val_acc": [0.4, accuracy],
    }


def written(svg: Path) -> set[str]:
    return {"".join(text.itertext()).strip() for text in ElementTree.parse(svg).iter() if "text" in text.tag}


def test_labels_are_text_and_all_in_the_legend(tmp_path: Path) -> None:
    histories = {label: [history(0.6), history(0.7)] for label in ODD}
    names = {label: str(number) for number, label in enumerate(ODD)}
    paths = save_figures(histories, tmp_path, names)
    assert {path.name for path in paths} == {
        f"{name}.{kind}"
        for name in ("comparison", *(f"history-{n}" for n in range(5)))
        for kind in ("png", "svg")
    }
    assert set(ODD) <= written(tmp_path / "comparison.svg")
    assert f"{ODD[0]}: loss" in written(tmp_path / "history-0.svg")


def test_the_legend_stands_beside_the_axes() -> None:
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = plot_comparison({str(n): history(0.5) for n in range(40)}, ax=figure.subplots(1, 2))
    figure.draw_without_rendering()
    assert left.get_legend() is None
    legend = right.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [str(n) for n in range(40)]
    assert legend.get_window_extent().x0 >= right.get_window_extent().x1
    assert legend.get_window_extent().height <= figure.bbox.height


def test_a_mean_ends_where_the_first_seed_stopped() -> None:
    longer = {curve: [*values, 0.1] for curve, values in history(0.6).items()}
    left, _ = plot_history([longer, history(0.7)], ax=Figure().subplots(1, 2))  # type: ignore[list-item]
    assert list(left.lines[0].get_xdata()) == [1, 2]
    assert left.lines[0].get_ydata()[1] == pytest.approx(1.0)


def test_a_history_is_drawn_over_its_epochs() -> None:
    left, _ = plot_history([history(0.6), history(0.8)], ax=Figure().subplots(1, 2))
    assert [line.get_ydata().tolist() for line in left.lines] == [[2.0, 1.0], [2.1, 1.2]]


def test_the_forest_shows_what_the_verdicts_say(many: Findings) -> None:
    few = many.judgements[:2]
    axes = plot_differences(few, ax=Figure().subplots())
    segments = axes.collections[0].get_segments()
    for row, (judgement, segment) in enumerate(zip(few, segments, strict=True)):
        comparison = judgement.verdict.comparison
        assert segment.tolist() == [[100 * comparison.ci_low, row], [100 * comparison.ci_high, row]]
    assert axes.collections[1].get_offsets()[:, 0].tolist() == [
        100 * judgement.verdict.comparison.difference for judgement in few
    ]


def test_many_pairs_make_no_tall_picture(many: Findings, tmp_path: Path) -> None:
    for name, times in (("some", 1), ("more", 20)):
        save_differences(many.judgements * times, tmp_path / name)
        with Image.open(tmp_path / name / "differences.png") as picture:
            assert picture.height < 2000
    assert "Differences with 95% intervals (11 of 66 pairs)" in written(tmp_path / "some" / "differences.svg")


def test_with_many_contenders_single_histories_are_left_out(tmp_path: Path) -> None:
    histories = {str(number): [history(0.5)] for number in range(50)}
    paths = save_figures(histories | {"no run": []}, tmp_path, {label: label for label in histories})
    assert [path.name for path in paths] == ["comparison.png", "comparison.svg"]


def test_figures_repeat_to_the_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        figure = Figure(layout="constrained")
        axes = figure.subplots()
        axes.plot(np.arange(3))
        axes.set_title(as_text("$a$"))
        save_figure(figure, tmp_path / name)
    for kind in ("png", "svg"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()


def test_explanations_of_the_first_version_are_read(tmp_path: Path) -> None:
    content = (Path(__file__).parent / "explain_of_0.1.json").read_text()
    (tmp_path / "explain.json").write_text(content)
    explained = read_explanation(tmp_path)
    assert isinstance(explained, Explained)
    expected = json.loads(content)
    expected["dataset"]["notes"] = []  # which it did not tell
    del expected["arrangement"]["self_check"]["passed"]
    expected["arrangement"]["self_check"]["result"] = "open"
    assert explanation_as_json(explained) == expected
    assert read_explanation(tmp_path / "nowhere") is None


def test_a_question_that_was_not_asked_is_left_out() -> None:
    content = json.loads((Path(__file__).parent / "explain_of_0.1.json").read_text())
    content["dataset"]["notes"] = ["some"]
    content["arrangement"]["self_check"]["result"] = (
        content["arrangement"]["self_check"].pop("passed") and "open"
    )
    del content["shift"], content["ladder"]
    assert explanation_as_json(Explained.model_validate(content)) == content


@pytest.mark.parametrize(("label", "expected"), [("$", r"\$"), ("a" * 50, "a" * 19 + "…" + "a" * 20)])
def test_text_is_escaped_and_bounded(label: str, expected: str) -> None:
    assert as_text(label) == expected
