"""Runs studies and commands in forked children, which get a signal at a chosen moment.

A program of its own: PyTorch is imported once, and the parent never trains, so that forking is cheap
and safe. It takes a job a line, as JSON on stdin, and answers each with a line of JSON on stdout.

A moment is a number of events (calls of functions, or of those that touch files), or the n-th call of
a named function; no clock is involved, so that each moment can be had again.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch._dynamo

from tiebreak.cli import main as command_line
from tiebreak.data.catalog import load_dataset
from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import TiebreakError
from tiebreak.study.driver import run_study
from tiebreak.study.plan import DataChoice, Execution, Study, make_study, parse_contender
from tiebreak.training.recipe.recipe import Recipe

FILE_CALLS = {"open", "write", "flush", "fsync", "close", "replace", "rename", "unlink", "mkdir", "chmod"}
RECIPE = Recipe(epochs=2, batch_size=256, optimizer="sgd", lr=0.1, schedule="cosine", flip=True, crop=1)
MODELS = ("linear", "mlp(hidden_dim=16, dropout=0.2)")


def the_study(seeds: int) -> Study:
    contenders = tuple(parse_contender(model, RECIPE) for model in MODELS)
    return make_study(contenders=contenders, seeds=seeds, data=DataChoice(name="digits"))


class Trap:
    """Counts what this process does, and sends it a signal at the chosen moments."""

    def __init__(self, moments: list[dict[str, Any]]) -> None:
        self.moments = moments
        self.events = self.file_events = 0

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event not in ("call", "c_call"):
            return
        self.events += 1
        name = frame.f_code.co_name if event == "call" else arg.__name__
        if event == "c_call" and name in FILE_CALLS:
            self.file_events += 1
        if self.moments and self._is_now(self.moments[0], event, name):
            os.kill(os.getpid(), self.moments.pop(0)["signal"])

    def _is_now(self, moment: dict[str, Any], event: str, name: str) -> bool:
        if "function" in moment:
            moment["nth"] -= name == moment["function"]
            return moment["nth"] <= 0
        reached: int = self.file_events if moment["files"] else self.events
        return reached >= moment["nth"]


def begin(job: dict[str, Any], data: ImageDataset, report: Path) -> int:
    """Fork a child that does the job; its output goes to `report`. Returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        with report.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = work(job, data)
    except BaseException:  # noqa: BLE001 - the child must never return into the server's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def work(job: dict[str, Any], data: ImageDataset) -> int:
    if "largest_file" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"],) * 2)
    if "user" in job:
        os.setresuid(job["user"], job["user"], job["user"])
    trap = Trap(job.get("moments", []))
    sys.setprofile(trap)
    code = 0
    try:
        if "command" in job:
            sys.argv = ["tiebreak", *job["command"]]
            command_line()
        else:
            execution = Execution(checkpoint_seconds=job.get("checkpoint_seconds", 0.0))
            for _ in run_study(the_study(job["seeds"]), data, Path(job["folder"]), execution):
                pass
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except TiebreakError as error:
        print(f"tiebreak: {error}")
        return 2
    finally:
        sys.setprofile(None)
    if code == 0:
        print(json.dumps({"events": trap.events, "file_events": trap.file_events}))
    return code


def wait(pid: int, report: Path) -> dict[str, Any]:
    """How a child ended, or that it was stopped."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return {"stopped": pid}
    return {"exit": os.waitstatus_to_exitcode(status), "output": report.read_text()}


def main() -> None:
    torch.set_num_threads(1)
    data = load_dataset("digits")
    report = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, line in enumerate(sys.stdin):
            job = json.loads(line)
            pid = job.get("continue") or job.get("kill")
            if pid:
                os.kill(pid, signal.SIGCONT if "continue" in job else signal.SIGKILL)
            else:
                pid = begin(job, data, Path(folder, str(number)))
                report[pid] = Path(folder, str(number))
            print(json.dumps(wait(pid, report[pid])), flush=True)


if __name__ == "__main__":
    main()
