"""What is shown while something takes long that has a known end: a download, many files to read."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

SHOWN_AFTER = 2.0  # seconds


@contextmanager
def show_waiting(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Gives a function to be told what is done, how far, and how far it goes; shows it if that takes long.

    A bar in a terminal, which vanishes at the end of the block; elsewhere one line for each thing.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    started: dict[str, float] = {}
    shown: dict[str, TaskID] = {}

    def tell(what: str, done: int, total: int) -> None:
        since = started.setdefault(what, time.monotonic())
        if what in shown:
            bar.update(shown[what], completed=done)
        elif time.monotonic() - since > SHOWN_AFTER:
            if console.is_terminal:
                bar.start()
            else:
                console.print(f"{what} ...", markup=False, highlight=False, soft_wrap=True)
            shown[what] = bar.add_task(what, completed=done, total=total)

    try:
        yield tell
    finally:
        if console.is_terminal:
            bar.stop()
