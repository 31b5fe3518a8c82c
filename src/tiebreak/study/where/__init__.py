"""Where a study's runs are computed. `execute` is the way in; what stands beside it is used by it alone."""

import json
import sys
from collections.abc import Sequence

# What our other processes run: by name, as who starts one early must not wait for PyTorch.
WORK = "tiebreak.study.where.worker:work"
RELAY = "tiebreak.study.where.cluster:relay"

# Before its imports a process keeps away from signals that terminals and schedulers send to a whole group of
# processes, which are for the driver alone, and keeps the threads that libraries start to its cores. It does
# not import the user's main script, as those of `multiprocessing` do, so that a script needs no
# `if __name__ == "__main__"` to compare models.
START = """
import json, os, pkgutil, signal, sys
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
sys.path[:], cores, entry, arguments = json.loads(sys.argv[1])
if cores:
    os.sched_setaffinity(0, cores)
pkgutil.resolve_name(entry)(*arguments)
"""


def python_command(entry: str, *arguments: object, cores: Sequence[int] = ()) -> list[str]:
    """The command line of a process that calls `module:name` with arguments that JSON can hold."""
    return [sys.executable, "-c", START, json.dumps([sys.path, list(cores), entry, arguments])]
