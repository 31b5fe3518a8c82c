"""Errors of this room: numbers that cannot be compared, and claims that cannot be read."""

from tiebreak.errors import TiebreakError


class EvidenceError(TiebreakError):
    """Predictions, seeds or a rule for judging them do not fit together."""


class ClaimError(TiebreakError):
    """A claim cannot be read, or names something that was not measured."""
