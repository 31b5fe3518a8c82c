"""One command from its first argument to its exit status."""

import os
import sys
from pathlib import Path

import typer

# isort: off
# Importing them makes the commands known, in the order of --help.
from tiebreak.cli import study, judge, evidence, look
from tiebreak.cli.app import app

# isort: on
from tiebreak.cli.app import EXIT_USAGE
from tiebreak.cli.streams import ready_streams
from tiebreak.errors import StoppedError, TiebreakError
from tiebreak.study.stop import ASKED

__all__ = ["app", "evidence", "judge", "look", "run_command", "study"]

EXIT_CLOSED_PIPE = 1  # as Rich ends a program whose reader has left


def run_command() -> None:
    """Parse the command line and do what it says.

    Raises: SystemExit, after one line on stderr, if it does not end well.
    """
    ready_streams()
    try:
        Path.cwd()  # here, as without a folder PyTorch's libraries end the process in words of their own
    except FileNotFoundError:
        _fail("The current folder has been deleted; change to another one.")
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
    except StoppedError:
        sys.stderr.write(ASKED.farewell)
    except TiebreakError as error:
        _fail(" ".join(str(error).split()))
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")


def _fail(message: str) -> None:
    sys.stderr.write(f"tiebreak: {message}\n")
    raise SystemExit(EXIT_USAGE)
