"""The command `tiebreak`: parse, call an action, print. Heavy imports wait until a command needs them."""

import atexit
import signal

from tiebreak.study.stop import stop_on_signals

__all__ = ["main"]


def main() -> None:
    """Run the command line. A user's error is one line on stderr and exit status 2.

    Ctrl-C and SIGTERM end it with one line and 130 or 143, from here on: all else is imported inside.
    """
    with stop_on_signals() as stop:
        try:
            from tiebreak.cli.run_command import run_command

            run_command()
        finally:
            if stop.signal is not None:  # whatever it has become of on its way
                raise SystemExit(128 + stop.signal)
    # All is done and said; what is left is to tidy up. In the interpreter's own end Ctrl-C is a traceback.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
