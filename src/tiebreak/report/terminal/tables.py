"""Text and tables in a terminal of any width: names always, whole numbers, lines broken at spaces."""

from collections.abc import Mapping

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from tiebreak.report.text.labels import short_labels
from tiebreak.report.text.tables import Table

GAP = 2  # columns between two cells
WIDE = 10_000  # columns of a console that is no terminal: nothing is squeezed
LEAST_NAME, LEAST_WORDS = 12, 24  # columns that a name, and a cell of words, keep


def say(text: str, console: Console, style: str | None = None) -> None:
    """Plain text, broken at spaces in a terminal; in a pipe or file, where others break lines, left whole."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def say_path(text: str, console: Console) -> None:
    """A line with a path, never broken, so that it can be copied."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_table(table: Table, console: Console, colours: Mapping[str, str] | None = None) -> None:
    """A table with numbers to the right and no number cut; `colours`: of the names in its first column.

    Where a terminal is too narrow, columns are left out in the order that the table gives, and said; then
    names are cut in the middle. In a pipe or file nothing is left out.
    """
    shown = fit_table(table, console.width) if console.is_terminal else table
    rich_table = RichTable(box=None, pad_edge=False, header_style="bold")
    for column in shown.columns:
        words = column in shown.text_columns
        left = words or column == shown.columns[0]
        rich_table.add_column(column, justify="left" if left else "right", no_wrap=not words)
    for (label, *_), (name, *rest) in zip(table.rows, shown.rows, strict=True):
        colour = (colours or {}).get(label)
        rich_table.add_row(f"[{colour}]{escape(name)}[/]" if colour else escape(name), *map(escape, rest))
    console.print(rich_table)
    if left_out := [column for column in table.columns if column not in shown.columns]:
        say(f"(A wider terminal shows {', '.join(left_out)} too.)", console, style="dim")


def fit_table(table: Table, width: int) -> Table:
    """What of a table fits so many columns: names always, cut if nothing else helps, and whole numbers."""
    name = min(_widest(table, 0), max(LEAST_NAME, width // 3))
    for gone in table.left_out_first:
        if name + _width_of_the_rest(table) <= width:
            break
        table = _without(table, gone)
    room = max(LEAST_NAME, width - _width_of_the_rest(table))
    short = short_labels([row[0] for row in table.rows], room)
    rows = tuple((short[name], *rest) for name, *rest in table.rows)
    return Table(columns=table.columns, rows=rows, text_columns=table.text_columns)


def _width_of_the_rest(table: Table) -> int:
    return sum(
        GAP + min(_widest(table, index), LEAST_WORDS if column in table.text_columns else WIDE)
        for index, column in enumerate(table.columns)
        if index > 0
    )


def _widest(table: Table, index: int) -> int:
    return max(cell_len(row[index]) for row in (table.columns, *table.rows))


def _without(table: Table, column: str) -> Table:
    at = table.columns.index(column)
    return Table(
        columns=table.columns[:at] + table.columns[at + 1 :],
        rows=tuple(row[:at] + row[at + 1 :] for row in table.rows),
        text_columns=table.text_columns,
    )
