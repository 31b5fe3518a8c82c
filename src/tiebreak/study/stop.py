"""A wish to stop, from Ctrl-C or SIGTERM: while runs are trained it is granted after a checkpoint."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPING = b"\ntiebreak: stopping after this batch; once more stops at once.\n"
FAREWELL = "tiebreak: stopped.\n"
SHOW_CURSOR = b"\x1b[?25h"  # a progress bar may have hidden it


@dataclass
class StopRequest:
    """Whether to stop, and the signal that asked for it."""

    signal: int | None = None
    gentle: bool = False  # runs are being trained: who is asked finishes the batch first
    farewell: str = FAREWELL

    def is_set(self) -> bool:
        return self.signal is not None

    @contextmanager
    def gently(self) -> Iterator[None]:
        """Inside the block, the first signal only asks."""
        self.gentle = True
        try:
            yield
        finally:
            self.gentle = False


ASKED = StopRequest()  # by a signal to this process


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a stop request, `ASKED`, inside the block.

    The first one while runs are trained only asks; else it says farewell and raises SystemExit. The second
    one ends the process there and then, and so does one that comes while a module is imported: what is raised
    there is often taken for a fault of the module, or lost.

    For the main thread of a program that owns its signals.
    """
    stop = ASKED
    stop.signal, stop.farewell = None, FAREWELL

    def ask(number: int, frame: FrameType | None) -> None:
        first, stop.signal = stop.signal is None, number
        if first and stop.gentle:
            os.write(2, STOPPING)  # a handler may interrupt a print, and must not print itself
            return
        os.write(2, stop.farewell.encode())
        if first and not _is_importing(frame):
            raise SystemExit(128 + number)
        if os.isatty(2):
            os.write(2, SHOW_CURSOR)
        os._exit(128 + number)

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
