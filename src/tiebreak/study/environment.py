"""What a result depends on beside plan and data: the machine and the versions."""

import os
import platform
from importlib.metadata import version

import torch

from tiebreak.study.record import Environment
from tiebreak.training.placement.device import processor_name


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
