"""The page in a real browser: quiet, complete, escaped, readable at any width, usable by keyboard."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opened_page import Opened
from synthetic_study import write_study
from tiebreak.actions.judge import Verdicts, as_json, judge
from tiebreak.actions.page import write_study_page
from tiebreak.evidence.describe.predictions import predicted_by
from tiebreak.report.text.findings import Findings, summary_sentence
from tiebreak.study.plan import Contender, make_study

SECTIONS = [
    "verdict", "curves", "cost", "classes", "confusion", "mistakes",
    "calibration", "inside", "why", "again", "try",
]  # fmt: skip


def test_opens_without_a_complaint_or_a_request(look: Any, study: Verdicts) -> None:
    assert look.complaints == []
    assert look.requests == [study.page.as_uri()]


def test_every_section_and_chart_is_there(look: Any) -> None:
    assert look.page.eval_on_selector_all("section", "all => all.map(s => s.id)") == SECTIONS
    charts = look.page.locator(".chart")
    assert charts.count() == 7
    for index in range(7):
        assert charts.nth(index).locator("svg").count() > 0
        assert len(charts.nth(index).get_attribute("aria-label")) > 20


def test_hostile_names_are_text(look: Any) -> None:
    attack = "</script><img src=x onerror=alert(1)>"
    assert look.page.locator("img[src=x]").count() == 0
    assert look.page.locator(".confusion").first.get_by_title(attack, exact=True).first.inner_text() == attack
    assert look.page.locator("h1").inner_text().endswith('<b>cnn</b> & "co"?')
    assert look.page.locator(".banner", has_text="A note with <i>markup</i>.").is_visible()
    axis = look.page.locator("#class-acc-chart .ytick text").all_text_contents()
    assert "</script><i…or=alert(1)>" in axis
    legend = look.page.locator("#curves .legend label").all_inner_texts()
    assert [text.strip() for text in legend] == ["mlp", '<b>cnn</b> & "co"']


def test_a_confusion_cell_shows_its_images(look: Any, study: Verdicts) -> None:
    label = study.contenders[0].label
    predicted = predicted_by(study.results, label)
    buttons = look.page.locator('.confusion button[data-place="0"]')
    checked = 0
    for index in range(0, buttons.count(), 5):
        button = buttons.nth(index)
        truth, said = int(button.get_attribute("data-truth")), int(button.get_attribute("data-said"))
        button.click()
        shown = look.page.eval_on_selector_all(
            "#cell-images .card", "all => all.map(c => Number(c.dataset.index))"
        )
        allowed = np.flatnonzero((predicted.truth == truth) & (predicted.classes == said).any(axis=0))
        assert set(shown) <= set(allowed.tolist())
        votes = (predicted.classes[:, shown] == said).sum(axis=0).tolist()
        assert votes == sorted(votes, reverse=True)
        checked += len(shown)
    assert checked > 20


def test_cards_tell_the_three_likeliest_classes(look: Any, study: Verdicts) -> None:
    card = look.page.locator("#mistake-lists .card").first
    index = int(card.get_attribute("data-index"))
    names = study.stored.header.data.class_names
    for place, contender in enumerate(study.contenders):
        probs = predicted_by(study.results, contender.label).mean_probs[index]
        best = int(probs.argmax())
        assert f"{names[best]} {100 * probs[best]:.0f}%" in card.locator("li").nth(place).inner_text()


def test_arrow_keys_move_between_cells(look: Any) -> None:
    first = look.page.locator('.confusion button[tabindex="0"]').first
    first.focus()
    look.page.keyboard.press("ArrowDown")
    moved = look.page.evaluate("document.activeElement.dataset.truth")
    assert int(moved) > int(first.get_attribute("data-truth") or 0) or moved != "0"
    look.page.keyboard.press("Enter")
    assert look.page.locator(".confusion .chosen").count() == 1


def test_switching_contenders_swaps_the_difference(look: Any, study: Verdicts) -> None:
    page = look.page
    table = "#classes-table tbody tr"
    read = "all => Object.fromEntries(all.map(r => [r.cells[0].textContent, r.cells[4].textContent]))"
    page.locator("#classes summary").click()
    before = page.eval_on_selector_all(table, read)
    page.select_option("#classes-a", "1")
    after = page.eval_on_selector_all(table, read)
    assert page.locator("#confusion-b").input_value() == "0"
    assert page.locator(".confusion caption").first.inner_text().strip() == study.contenders[1].label
    assert {name: float(value) for name, value in after.items()} == pytest.approx(
        {name: -float(value) for name, value in before.items()}
    )
    page.select_option("#mistakes-a", "0")
    assert page.eval_on_selector_all(table, read) == before


def test_the_table_sorts(look: Any) -> None:
    column = look.page.locator("#results thead button", has_text="params")
    read = "all => all.map(r => Number(r.cells[5].dataset.key))"
    for expected in (True, False):
        column.click()
        values = look.page.eval_on_selector_all("#results tbody tr", read)
        assert values == sorted(values, reverse=expected)


def test_switches_redraw_charts(look: Any) -> None:
    traces = "document.getElementById('loss-chart').data.length"
    before = look.page.evaluate(traces)
    look.page.check("#single-seeds")
    assert look.page.evaluate(traces) == before + 8  # two contenders, two seeds, train and val
    look.page.select_option("#cost-axis", "params")
    assert "parameters" in look.page.locator("#cost-chart").text_content()
    first = look.page.evaluate("document.getElementById('reliability-chart').data[1].x")
    look.page.check("#scaled")
    assert look.page.evaluate("document.getElementById('reliability-chart').data[1].x") != first


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
def test_fits_the_screen_and_has_no_serious_barrier(
    open_page: Any, study: Verdicts, width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    opened = open_page(study.page, viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(opened.page).response["violations"]
    serious = [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")]
    assert serious == []
    opened.context.close()


@pytest.fixture(scope="module")
def crowded(browser: Any, crowd: Verdicts) -> Iterator[Opened]:
    """The page of twelve contenders with long names, one of whose runs failed."""
    write_study_page(crowd)
    opened = Opened(browser, crowd.page, viewport={"width": 1400, "height": 900})
    yield opened
    opened.context.close()


def test_many_contenders_are_ranked_first_and_their_pairs_folded(crowded: Opened, many: Findings) -> None:
    page, best = crowded.page, many.ranking.standings[0].name
    assert crowded.complaints == []
    assert page.locator("h1").inner_text() == "Which of 12 classifiers?"
    assert page.locator("#verdict .verdict").all_inner_texts() == [
        summary_sentence(many.ranking, many.judgements)
    ]
    ranked = page.locator("#ranking tbody th")
    names = [
        name or text
        for name, text in zip(
            ranked.evaluate_all("all => all.map(cell => cell.title)"), ranked.all_inner_texts(), strict=True
        )
    ]
    assert names == [standing.name for standing in many.ranking.standings]
    assert page.locator("#verdict details p").count() == 66
    assert not page.locator("#verdict details p").first.is_visible()
    chart = page.evaluate("DATA.verdicts.map(v => [v.a, v.b])")
    assert len(chart) == 11 and all(best in pair for pair in chart)


def test_the_sign_is_the_verdicts(crowded: Opened, many: Findings) -> None:
    first = many.judgements[0]
    chosen = crowded.page.locator("#classes select").evaluate_all(
        "all => all.map(one => one.selectedOptions[0].textContent)"
    )
    assert chosen == [first.a, first.b]


def test_notes_are_the_same_everywhere(crowded: Opened, crowd: Verdicts) -> None:
    banners = crowded.page.locator("#verdict .banner").all_inner_texts()
    assert list(crowd.notes) == banners[: len(crowd.notes)] == as_json(crowd)["notes"]
    assert "mlp, seed 2 failed: the loss is not a number." in banners


def test_sections_are_numbered_from_one(crowded: Opened) -> None:
    assert crowded.page.locator("h2").count() == 10
    style = "getComputedStyle(document.querySelectorAll('h2')[{}], '::before').content"
    assert "counter(section)" in crowded.page.evaluate(style.format(0))


def test_a_legend_hides_contenders_from_all_charts(crowded: Opened) -> None:
    page = crowded.page
    boxes = page.locator("#curves .legend input")
    assert boxes.count() == 12
    dots = page.locator("#curves .legend .dot").evaluate_all("all => all.map(dot => dot.style.color)")
    assert len(set(dots)) == 12
    assert not page.locator("#show-train").is_checked(), "24 curves would be too many at first"
    lines = "document.getElementById('{}').data.length"
    before = [page.evaluate(lines.format(chart)) for chart in ("cost-chart", "reliability-chart")]
    boxes.nth(3).uncheck()
    assert not page.locator("#calibration .legend input").nth(3).is_checked()
    after = [page.evaluate(lines.format(chart)) for chart in ("cost-chart", "reliability-chart")]
    assert after == [count - 1 for count in before]
    boxes.nth(3).check()


def test_no_axis_of_a_percentage_goes_beyond(crowded: Opened) -> None:
    axes = {"acc-chart": "y", "cost-chart": "y", "class-acc-chart": "x", "reliability-chart": "x"}
    for chart, axis in axes.items():
        low, high = crowded.page.evaluate(f"document.getElementById('{chart}').layout.{axis}axis.range")
        assert 0 <= low < high <= 100


def test_rows_of_the_two_charts_of_classes_line_up(crowded: Opened) -> None:
    tops = "all => all.map(tick => Math.round(tick.getBoundingClientRect().top))"
    left, right = (
        crowded.page.locator(f"#class-{kind}-chart .ytick text").evaluate_all(tops)
        for kind in ("acc", "diff")
    )
    assert left == right and len(left) == 3


@pytest.mark.parametrize("width", [390, 800, 1400])
def test_many_contenders_fit_the_screen(open_page: Any, crowd: Verdicts, crowded: Opened, width: int) -> None:
    opened = open_page(crowd.page, viewport={"width": width, "height": 900})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    link = opened.page.locator("nav a", has_text="Try it").bounding_box()
    assert link["x"] + link["width"] <= width
    opened.context.close()


def test_of_many_classes_the_most_confused_come_first(open_page: Any, tmp_path: Path) -> None:
    classes, right = [f"c{k}" for k in range(40)], np.arange(800) % 40 != 30  # c30 is taken for c31
    plan = make_study(contenders=tuple(Contender(label=name, model="mlp") for name in "ab"), seeds=2)
    correct = {label: np.stack([right, right]) for label in "ab"}
    verdicts = judge(write_study(tmp_path / "study", plan, correct, classes=classes))
    page = open_page(write_study_page(verdicts), viewport={"width": 1400, "height": 900}).page
    names = page.locator(".confusion").first.locator("tbody th").all_inner_texts()
    assert names == [*classes[:10], "c30", "c31"]
    assert page.locator("#class-acc-chart .ytick").count() == 20
    assert page.locator("#confusion-more").inner_text().startswith("The 12 classes most often confused.")
    page.get_by_text("Show all 40 classes").last.click()
    assert page.locator(".confusion").first.locator("tbody th").count() == 40
    assert "get equally many images of every class right" in page.locator("#classes-text").inner_text()


def test_prints_in_the_colours_of_paper_without_overflow(open_page: Any, study: Verdicts) -> None:
    opened = open_page(study.page, viewport={"width": 718, "height": 1000}, color_scheme="dark")
    opened.page.emulate_media(media="print")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.page.evaluate("document.getElementById('loss-chart').layout.font.color") == "#000"
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 718
    assert not opened.page.locator("nav").is_visible()
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.page.evaluate("document.getElementById('loss-chart').layout.font.color") != "#000"
