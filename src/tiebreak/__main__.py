"""`python -m tiebreak` is the command `tiebreak`."""

from tiebreak.cli import main

if __name__ == "__main__":
    main()
