"""A clock that counts training, and nothing that is done in between."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds of wall clock since `restart`, the pauses left out."""

    def __init__(self) -> None:
        self.restart()

    def restart(self, seconds: float = 0.0) -> None:
        """Count from `seconds` on, from now."""
        self._zero = time.perf_counter() - seconds

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._zero

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still inside the block: for what is written, sent or shown between two steps."""
        since = time.perf_counter()
        try:
            yield
        finally:
            self._zero += time.perf_counter() - since
