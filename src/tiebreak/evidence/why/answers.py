"""All answers about one pair of contenders, from the study folder alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from tiebreak.evidence.why import explanation_text as text
from tiebreak.evidence.why.efficiency import DataCurve, answer_data
from tiebreak.evidence.why.questions import Question
from tiebreak.evidence.why.robustness import Breakdown, answer_shift
from tiebreak.evidence.why.spatial import (
    Arrangement,
    Ladder,
    Size,
    answer_arrangement,
    answer_control,
    answer_ladder,
    answer_size,
)
from tiebreak.study.plan import Contender
from tiebreak.study.store import StoredStudy


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why B leads A; None where a question was not asked."""

    stored: StoredStudy
    a: str
    b: str
    arrangement: Arrangement | None = None
    ladder: Ladder | None = None
    control: Ladder | None = None
    size: Size | None = None
    data: DataCurve | None = None
    shift: Breakdown | None = None

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
        return list(dict.fromkeys(sentence for part in parts if part for sentence in part))


def answer_questions(
    stored: StoredStudy, questions: Iterable[Question], a: Contender, b: Contender
) -> Explanation:
    """Answer what was asked about B's lead over A.

    Raises: EvidenceError if runs that a question needs are missing.
    """
    asked = set(questions)
    return Explanation(
        stored=stored,
        a=a.label,
        b=b.label,
        arrangement=answer_arrangement(stored, a, b) if Question.ARRANGEMENT in asked else None,
        ladder=answer_ladder(stored, a, b) if Question.LADDER in asked else None,
        control=answer_control(stored, a, b) if Question.CONTROL in asked else None,
        size=answer_size(stored, a, b) if Question.SIZE in asked else None,
        data=answer_data(stored, a, b) if Question.DATA in asked else None,
        shift=answer_shift(stored, a, b) if Question.SHIFT in asked else None,
    )
