"""What a result depends on beside plan and data: the machine and the versions."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from tiebreak.study.plan import Plan


class Environment(Plan):
    """Recorded in every study."""

    tiebreak: str
    python: str
    torch: str
    numpy: str
    system: str
    processor: str
    cores: int


def describe_environment() -> Environment:
    """The environment of this process."""
    return Environment(
        tiebreak=version("tiebreak"),
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=version("numpy"),
        system=platform.platform(),
        processor=processor_name(),
        cores=os.cpu_count() or 1,
    )


def processor_name() -> str:
    """The processor's model name where the system tells it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
