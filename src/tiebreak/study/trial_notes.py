"""What trials found that is no error but must be known, kept for every report.

STUDY/trial.json    by contender: sentences
"""

from collections.abc import Collection
from pathlib import Path

from pydantic import Field

from tiebreak.data.facts import Words
from tiebreak.sealed import read_sealed, write_sealed
from tiebreak.settings import Settings

TRIAL_FILE = "trial.json"
REMEDY = "Remove it and give the command that made the study again."


class StoredTrials(Settings):
    """The content of trial.json."""

    contenders: dict[Words, tuple[Words, ...]] = Field(default_factory=dict)


def keep_trials(folder: Path, notes: dict[str, tuple[str, ...]]) -> None:
    """Put what trials found, by contender, into the study folder, in place of what earlier ones found.

    Raises: OSError if the folder cannot be written; StudyError if its trial.json is damaged.
    """
    before = _stored(folder)
    found = {label: sentences for label, sentences in (before | notes).items() if sentences}
    if found != before:
        write_sealed(folder / TRIAL_FILE, StoredTrials(contenders=found))


def read_trials(folder: Path, labels: Collection[str]) -> tuple[str, ...]:
    """What the trials of these contenders found, a sentence each.

    Raises: StudyError if the folder's trial.json is damaged.
    """
    found = _stored(folder)
    return tuple(f"{label}: {note}" for label in labels for note in found.get(label, ()))


def _stored(folder: Path) -> dict[Words, tuple[Words, ...]]:
    return (read_sealed(folder, TRIAL_FILE, StoredTrials, REMEDY) or StoredTrials()).contenders
