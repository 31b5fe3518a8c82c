"""The command `tiebreak`: parse, call an action, print. Heavy imports wait until a command needs them."""

import os
import sys

import typer

# isort: off
# Importing them makes the commands known, in the order of --help.
from tiebreak.cli import study, evidence, look
from tiebreak.cli.app import app

# isort: on
from tiebreak.cli.app import EXIT_USAGE
from tiebreak.errors import TiebreakError

__all__ = ["app", "evidence", "look", "main", "study"]

EXIT_CLOSED_PIPE = 1  # as Rich ends a program whose reader has left


def main() -> None:
    """Run the command line. A user's error is one line on stderr and exit status 2."""
    try:
        app(standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # `tiebreak models | head`: who read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed
        raise SystemExit(EXIT_CLOSED_PIPE) from None
    except typer.TyperException as error:
        message = " ".join(getattr(error, "format_message", error.__str__)().split())
        if not message:  # a command without any argument: its help was shown
            raise SystemExit(EXIT_USAGE) from None
        _fail(f"{message.removesuffix('.')}. See --help.")
    except typer.Abort:
        raise SystemExit(130) from None
    except TiebreakError as error:
        _fail(" ".join(str(error).split()))
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")


def _fail(message: str) -> None:
    sys.stderr.write(f"tiebreak: {message}\n")
    raise SystemExit(EXIT_USAGE)
