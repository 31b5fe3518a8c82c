"""These errors live in tiebreak.errors; the names stay here for what still asks for them."""

from tiebreak.errors import ClaimError as ClaimError
from tiebreak.errors import EvidenceError as EvidenceError
