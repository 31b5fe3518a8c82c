"""What a terminal of any width shows: names, whole numbers, whole words, and the ranking first."""

from io import StringIO

import pytest
from rich.console import Console

from tiebreak.actions.judge import Verdicts
from tiebreak.report.palette import contender_colours
from tiebreak.report.terminal.results import print_findings
from tiebreak.report.terminal.tables import WIDE, fit_table, print_table, say
from tiebreak.report.text.findings import Findings, on_top, summary_sentence
from tiebreak.report.text.labels import short_labels, shortened
from tiebreak.report.text.tables import Table, ranking_table, summary_table
from tiebreak.report.text.values import strict_json

WIDTHS = [60, 80, 120]


def shown(findings: Findings, width: int) -> str:
    """As a terminal shows it."""
    file = StringIO()
    print_findings(findings, Console(file=file, width=width, force_terminal=True, color_system=None))
    return file.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
def test_names_and_whole_numbers_in_every_width(many: Findings, width: int) -> None:
    lines = shown(many, width).splitlines()
    assert max(map(len, lines)) <= width
    table = summary_table(many.summaries)
    start = next(at for at, line in enumerate(lines) if line.startswith("contender") and "params" in line)
    columns = [name for name in table.columns if f" {name} " in f" {lines[start]} "]
    assert {"test acc", "params"} <= set(columns)
    for row, line in zip(table.rows, lines[start + 1 :], strict=False):
        cells = dict(zip(table.columns, row, strict=True))
        name = line.split("  ")[0].strip()
        head, _, tail = name.partition("…")
        assert row[0].startswith(head) and row[0].endswith(tail)
        numbers = [cell for cell in line[len(name) :].split("  ") if cell.strip()]
        assert [cell.strip() for cell in numbers] == [cells[column] for column in columns[1:]]


def test_the_ranking_comes_first_then_one_sentence(many: Findings) -> None:
    text = shown(many, 80)
    places = [text.index(part) for part in ("letters", "params", "The best of 11 ", "pairs, one by one")]
    assert places == sorted(places)
    assert text.count("adjusted for 66") == 1, "one pair is told, the others are folded"


def test_variants_with_long_names_stay_apart(many: Findings) -> None:
    labels = [f"cnn(width=64,depth=12,dropout=0.1,norm={norm},seed=1)" for norm in ("batch", "layer", "none")]
    for most in (12, 20, 40):
        short = short_labels(labels, most)
        assert len(set(short.values())) == 3
        assert max(map(len, short.values())) <= most
    assert shortened("cnn(width=64,variant=A)", 15) == "cnn(wid…iant=A)"
    assert shortened("short", 15) == "short"


def test_a_pipe_gets_everything(many: Findings) -> None:
    file = StringIO()
    print_findings(many, Console(file=file, width=WIDE))
    lines = file.getvalue().splitlines()
    assert "images/s" in file.getvalue() and "wider terminal" not in file.getvalue()
    assert many.told[0].sentence in lines, "sentences are whole lines"


def test_what_is_left_out_is_said(many: Findings) -> None:
    table = summary_table(many.summaries)
    fitted = fit_table(table, 60)
    gone = [column for column in table.columns if column not in fitted.columns]
    assert gone and set(gone) <= set(table.left_out_first)
    assert f"(A wider terminal shows {', '.join(gone)[:20]}" in shown(many, 60)


def test_words_are_not_broken(many: Findings) -> None:
    text = "undecided: mlp leads cnn by 1.3 points (95% CI -1.2 to 3.8; 3 paired seeds, 359 test images)."
    file = StringIO()
    say(text, Console(file=file, width=40, force_terminal=True, color_system=None))
    assert " ".join(file.getvalue().split()) == text
    assert max(map(len, file.getvalue().splitlines())) <= 40


def test_a_name_has_its_colour_in_every_table(many: Findings) -> None:
    """The ranking is in another order than the plan, which decides about colours."""
    label = many.results.labels[2]
    red, green, blue = (int(many.colours[label][at : at + 2], 16) for at in (1, 3, 5))
    for table in (ranking_table(many.ranking), summary_table(many.summaries)):
        file = StringIO()
        console = Console(file=file, width=200, force_terminal=True, color_system="truecolor")
        print_table(table, console, many.colours)
        assert f"\x1b[38;2;{red};{green};{blue}m{label}" in file.getvalue()


def test_sixty_contenders_have_sixty_colours() -> None:
    colours = contender_colours([str(number) for number in range(60)])
    assert len(set(colours.values())) == 60
    assert list(colours.values())[:8] == list(contender_colours("abcdefgh").values())


def test_failed_runs_and_notes_are_told_alike(many: Findings) -> None:
    assert [line for line in shown(many, WIDE).splitlines() if line.startswith("Note: ")] == [
        f"Note: {note}" for note in many.notes
    ]


def test_charts_show_the_pairs_of_the_best(many: Findings) -> None:
    best = many.ranking.standings[0].name
    chosen = on_top(many.judgements)
    assert len(chosen) == 11 and all(best in (one.a, one.b) for one in chosen)
    assert on_top(many.judgements[:5]) == list(many.judgements[:5])


def test_the_summary_counts_what_the_verdicts_say(many: Findings) -> None:
    open_ = sum(one.verdict.outcome.value == "undecided" for one in many.judgements)
    text = summary_sentence(many.ranking, many.judgements)
    assert f"of 66 pairs {66 - open_} differ and {open_} are undecided." in text
    few = summary_sentence(
        many.ranking, [one for one in many.judgements if one.verdict.outcome.value == "undecided"][:1]
    )
    assert few.endswith("of 1 pairs 1 is undecided.")


def test_json_has_null_for_what_is_no_number() -> None:
    odd = {"a": float("nan"), "b": [float("inf"), -1.5], "c": ("ü", None)}
    assert strict_json(odd) == '{"a": null, "b": [null, -1.5], "c": ["\\u00fc", null]}'


def test_a_table_of_words_wraps_at_spaces() -> None:
    table = Table(
        columns=("name", "what it is"), rows=(("a", "one two three " * 5),), text_columns=("what it is",)
    )
    file = StringIO()
    print_table(table, Console(file=file, width=40, force_terminal=True, color_system=None))
    assert file.getvalue().split() == ["name", "what", "it", "is", "a", *["one", "two", "three"] * 5]


def test_one_name_may_stand_in_several_rows() -> None:
    """As in the table of `bench`."""
    name = "a-model-with-a-name-that-is-long(width=64)"
    table = Table(columns=("model", "images/s"), rows=((name, "1"), (name, "2")))
    fitted = fit_table(table, 30)
    assert [row[1] for row in fitted.rows] == ["1", "2"]
    assert len({row[0] for row in fitted.rows}) == 1 and len(fitted.rows[0][0]) == 20


def test_printing_verdicts_needs_no_terminal(study: Verdicts) -> None:
    assert "mlp" in str(study) and "images/s" in str(study)
