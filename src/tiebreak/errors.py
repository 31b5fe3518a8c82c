"""The few exceptions a user may see. Each message says what was needed, what came and what to do next."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

NAMES_SHOWN = 5  # in one sentence


class TiebreakError(Exception):
    """The root of all errors a user can cause and mend; the command line prints one line and exits with 2."""


class DataError(TiebreakError):
    """A data set, image, archive or download is missing, broken or not what its name says."""


class ModelError(TiebreakError):
    """A model's name, arguments or output do not fit."""


class StudyError(TiebreakError):
    """A study's plan or folder is invalid, or a folder holds another study."""


class EvidenceError(TiebreakError):
    """Predictions, seeds or a rule for judging them do not fit together."""


class ClaimError(TiebreakError):
    """A claim cannot be read, or names something that was not measured."""


class DivergedError(TiebreakError):
    """A run's loss or gradient is no longer a finite number; the study goes on without this run."""


class DeviceMemoryError(TiebreakError):
    """A run does not fit the device's memory; the study goes on without this run."""


class CheckpointError(TiebreakError):
    """A checkpoint cannot be read, or is another run's."""


class StoppedError(TiebreakError):
    """Somebody asked the study to stop; what is done is stored."""


def printable(text: str) -> str:
    """Text as it may be printed: characters that steer a terminal or turn its direction are replaced.

    >>> printable("red\\x1b[31m")
    'red\ufffd[31m'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def one_line(name: str) -> str:
    """A name, perhaps a stranger's, as it may stand inside a sentence.

    >>> one_line("one\\ntwo\\x1b[31m")
    'one\ufffdtwo\ufffd[31m'
    """
    return printable(name).replace("\n", "\N{REPLACEMENT CHARACTER}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all of them.

    >>> did_you_mean("cifar01", ["cifar10", "mnist"])
    'Did you mean "cifar10"?'
    """
    known = sorted(map(one_line, known))
    nearest = get_close_matches(name, known, n=1)
    if nearest:
        return f'Did you mean "{nearest[0]}"?'
    return f"Known: {', '.join(known)}."


def list_some(names: Sequence[str]) -> str:
    """Names, quoted, the first few of many."""
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(map(repr, names[:NAMES_SHOWN])) + more
