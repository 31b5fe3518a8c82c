"""Where a run computes: the device, and how many threads it may use."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from tiebreak.errors import TiebreakError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str = "auto") -> torch.device:
    """The named device; "auto" is the first of cuda, mps, cpu that this machine has.

    Raises: TiebreakError if the name is unknown or this machine has no such device.
    """
    kind = name.partition(":")[0]
    if kind not in DEVICES:
        raise TiebreakError(f'Unknown device "{name}"; expected one of {", ".join(DEVICES)}, or e.g. cuda:1.')
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if kind == "auto":
        return torch.device("cuda" if has_cuda else "mps" if has_mps else "cpu")
    if (kind == "cuda" and not has_cuda) or (kind == "mps" and not has_mps):
        raise TiebreakError(
            f"This machine (or this build of PyTorch) has no {kind} device; use --device cpu."
        )
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise TiebreakError(f'"{name}" is not a device: {error}') from None


@contextmanager
def thread_count(threads: int | None) -> Iterator[None]:
    """Let PyTorch use that many threads inside the block. None leaves its own choice."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def processor_name() -> str:
    """The processor's model name where the system tells it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
