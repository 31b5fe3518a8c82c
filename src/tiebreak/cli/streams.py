"""Stdout and stderr as a command finds them: closed, or of an encoding that lacks what it prints."""

import codecs
import io
import os
import sys

# What stands for characters that an encoding lacks; a question mark for all others.
PLAIN = str.maketrans(
    {"±": "+-", "\N{MULTIPLICATION SIGN}": "x", "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "—": "-"}
    | {"…": "...", "·": ".", "≥": ">=", "≤": "<=", "≈": "~"}
)
ERRORS = "tiebreak-plain"


def ready_streams() -> None:
    """Let whatever is printed be printed somehow: it must not cost a result that it cannot be.

    A stream that was closed when the program started leads nowhere, and no file gets its number.
    """
    codecs.register_error(ERRORS, _plain)
    for descriptor, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
            setattr(sys, name, os.fdopen(descriptor, mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode(error.encoding, "replace").decode(error.encoding), error.end
