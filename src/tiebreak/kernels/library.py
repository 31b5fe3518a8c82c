"""Kernels as shared libraries, compiled with the machine's own C++ compiler and kept in the cache.

Compiling takes seconds, once. Where there is no compiler, or what it made does not give the values that it
should, the plain PyTorch twin of a kernel computes.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from tiebreak.errors import TiebreakError
from tiebreak.files import cache_root

HERE = Path(__file__).parent
HEADERS = ("threads.hpp", "words.hpp")
# Without contraction a product is rounded before it is added to, as PyTorch does it.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC")
COMPILERS = ("c++", "g++", "clang++")
COMPILE_SECONDS = 60.0  # until a compiler that hangs is given up
DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}  # as the names of functions say it

POINTER, NUMBER = ctypes.c_void_p, ctypes.c_int64

log = logging.getLogger(__name__)


def load_library(
    source: Path, arguments: Mapping[str, Sequence[type]], gives_right_values: Callable[[ctypes.CDLL], bool]
) -> ctypes.CDLL | None:
    """A source's functions, ready to call; None where they cannot be had.

    `arguments`: of each function, by its name without the number format; a function that this processor has
    no instructions for is missing from the library. TIEBREAK_KERNELS=off in the environment: none is used.

    Raises: TiebreakError if TIEBREAK_KERNELS is something else.
    """
    switch = os.environ.get("TIEBREAK_KERNELS", "on")
    if switch not in ("on", "off"):
        raise TiebreakError(f'TIEBREAK_KERNELS must be on or off, got "{switch}".')
    if switch == "off":
        return None
    try:
        library = ctypes.CDLL(str(compile_library(source, cache_root() / "kernels")))
    except FileNotFoundError as error:
        log.info("Computing without compiled %s: %s", source.stem, error)
        return None
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("Computing without compiled %s: %s", source.stem, error)
        return None
    for name, types in arguments.items():
        for dtype in DTYPES.values():
            if hasattr(library, f"{name}_{dtype}"):
                function = getattr(library, f"{name}_{dtype}")
                function.argtypes, function.restype = types, None
    if not gives_right_values(library):
        log.warning("Compiled %s gives other values than PyTorch on this machine; left unused.", source.stem)
        return None
    return library


def compile_library(source: Path, folder: Path) -> Path:
    """The shared library in `folder`; made first if it is not there for this source, compiler and processor.

    Raises: OSError if there is no compiler or the folder cannot be written; SubprocessError if compiling
    fails.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise FileNotFoundError(f"no C++ compiler found (tried {', '.join(COMPILERS)})")
    texts = [path.read_text() for path in (source, *(HERE / header for header in HEADERS))]
    parts = (*texts, *FLAGS, compiler, _processor())
    target = folder / f"{source.stem}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:16]}.so"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        # Processes that compile at the same time must not see each other's half-written file.
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / target.name
            command = [compiler, *FLAGS, f"-I{HERE}", str(source), "-o", str(made)]
            # A compiler by its name in PATH, our own source: nothing of this comes from a stranger.
            subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_SECONDS)  # nosec B603
            made.replace(target)
    return target


def _processor() -> str:
    """What decides which instructions the compiler may use; a cache can be shared by unlike machines."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
    lines = cpuinfo.read_text().split("\n\n")[0].splitlines()
    return "\n".join(sorted(line for line in lines if line.startswith(("model name", "flags", "Features"))))
