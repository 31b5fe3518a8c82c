"""`tiebreak check`: claims held against a study."""

from collections.abc import Sequence
from pathlib import Path

from tiebreak.actions.judge import read_results
from tiebreak.evidence.claims.check import check_claims
from tiebreak.evidence.claims.outcome import ClaimOutcome


def check(folder: Path | str, claims: Sequence[str]) -> tuple[ClaimOutcome, ...]:
    """Hold claims such as "cnn - mlp >= 0.15" or "cnn.params <= mlp.params" against a study.

    Raises: ClaimError if one cannot be read or names what was not measured; StudyError or EvidenceError if
    the study cannot be read or judged.
    """
    return check_claims(read_results(folder), list(claims))
