"""A wish to stop, from Ctrl-C or SIGTERM: while runs are trained it is granted after a checkpoint."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPING = b"\ntiebreak: stopping after this batch; once more stops at once.\n"


@dataclass
class StopRequest:
    """Whether to stop, and the signal that asked for it."""

    signal: int | None = None
    gentle: bool = False  # runs are being trained: who is asked finishes the batch first

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


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a stop request; a second one, or one between runs, raises SystemExit.

    For the main thread of a program that owns its signals.
    """
    stop = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        first, stop.signal = stop.signal is None, number
        if not (first and stop.gentle):
            raise SystemExit(128 + number)
        os.write(2, STOPPING)  # a handler may interrupt a print, and must not print itself

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
