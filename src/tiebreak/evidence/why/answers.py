"""All answers about one pair of contenders."""

from dataclasses import dataclass

from tiebreak.evidence.why import explanation_text as text
from tiebreak.evidence.why.efficiency import DataCurve
from tiebreak.evidence.why.robustness import Breakdown
from tiebreak.evidence.why.spatial import Arrangement, Ladder, Size
from tiebreak.results.results import Results


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation:
    """Why B leads A; None where a question was not asked."""

    results: Results
    a: str
    b: str
    arrangement: Arrangement | None = None
    ladder: Ladder | None = None
    control: Ladder | None = None
    size: Size | None = None
    data: DataCurve | None = None
    shift: Breakdown | None = None
    unanswered: tuple[str, ...] = ()  # what was asked in vain, and why

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    __repr__ = __str__  # at a prompt and in a notebook, where arrays of answers would fill pages

    @property
    def sentences(self) -> list[str]:
        """The answers in plain words."""
        parts = [
            self.arrangement and text.arrangement_sentences(self.arrangement),
            self.ladder and text.ladder_sentences(self.ladder),
            self.control and text.ladder_sentences(self.control),
            self.size and text.size_sentences(self.size),
            self.data and text.data_sentences(self.data),
            self.shift and text.shift_sentences(self.shift),
        ]
        # The caution about a single seed is the same for all of them: once is enough.
        return [*dict.fromkeys(sentence for part in parts if part for sentence in part), *self.unanswered]
