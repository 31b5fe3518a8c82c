"""The one place where text leaves for a terminal: it cannot move the cursor or rename the window."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from tiebreak.errors import printable


class TerminalConsole(Console):
    """A console that shows control characters, which words from files may hold, as replacement characters."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Rendered text as it may be printed; Rich's own control codes stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
