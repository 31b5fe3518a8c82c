"""A benchmark's result as a file: the command that made it, the machine, and the tables."""

import os
import platform
import shlex
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import torch

from tiebreak.training.placement.device import processor_name

FORCES_PROCESSOR = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "TIEBREAK_KERNELS",
)


def write_table(out: Path, title: str, facts: str, lines: Iterable[str]) -> None:
    """Write and print it; `facts` says in sentences what was measured, and how."""
    machine = (
        f"{datetime.now(UTC):%Y-%m-%d}; {processor_name()}, {os.cpu_count()} cores; {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}."
    )
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_shown(sys.argv[1:])])
    text = "\n".join(
        [
            f"# {title}",
            "",
            f"Command: `{forced_processor()}{command}`",
            "",
            f"{machine} {facts}",
            "",
            *lines,
            "",
        ]
    )
    out.write_text(text)
    print(text)


def forced_processor() -> str:
    """The settings that keep this process to another kind of processor, as they stand before a command."""
    return "".join(f"{name}={os.environ[name]} " for name in FORCES_PROCESSOR if name in os.environ)


def _shown(arguments: list[str]) -> list[str]:
    """The arguments without where the data lay, which is no part of the result."""
    shown = list(arguments)
    if "--data-dir" in shown:
        shown[shown.index("--data-dir") + 1] = "FOLDER"
    return shown
