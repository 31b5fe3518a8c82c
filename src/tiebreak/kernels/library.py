"""The compiled kernels: which of the libraries that setup.py has built computes on this machine.

Each is the same sources compiled for other instructions of the processor, its name the variant's. Where there
is none, or one does not give the values that it should, the plain PyTorch twin of a kernel computes.
"""

import ctypes
import logging
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch

from tiebreak.errors import TiebreakError

# From the least to the most instructions, by names that Python has for the processor; setup.py says which.
VARIANTS = {
    ("x86_64", "amd64"): ("baseline", "avx2", "avx512", "avx512_bf16"),
    ("aarch64", "arm64"): ("neon",),
}
FOLDER = Path(__file__).parent  # where they are
SWITCH = "TIEBREAK_KERNELS"
DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}  # as the names of functions say it

POINTER, NUMBER = ctypes.c_void_p, ctypes.c_int64

log = logging.getLogger(__name__)


def kernel_variant() -> str | None:
    """The name of the variant that computes here; None where PyTorch does.

    The most that the processor can and an installation has, unless TIEBREAK_KERNELS in the environment says
    otherwise: off, or a variant's name.

    Raises: TiebreakError if TIEBREAK_KERNELS is something else, or a variant that cannot compute here.
    """
    return _choose(os.environ.get(SWITCH, "on"))


def keeps_from_bf16() -> bool:
    """Whether TIEBREAK_KERNELS forces a variant without bfloat16: as if on such a processor."""
    forced = os.environ.get(SWITCH, "on")
    return forced in known_variants() and not forced.endswith("bf16")


def usable_variants() -> tuple[str, ...]:
    """The variants that this processor can and this installation has, from the least to the most."""
    known = known_variants()
    if not known or not _path(known[0]).is_file():
        return ()
    return tuple(name for name in known[: _level(_path(known[0])) + 1] if _path(name).is_file())


def load_kernels(
    variant: str | None,
    arguments: Mapping[str, Sequence[type]],
    gives_right_values: Callable[[ctypes.CDLL], bool],
) -> ctypes.CDLL | None:
    """A variant's library, with these functions ready to call; None where they cannot be had.

    `arguments`: of each function, by its name without the number format; what a variant has no instructions
    for is missing from its library. A function returns whether it had memory enough (`call` looks at that).
    """
    if variant is None:
        return None
    library = ctypes.CDLL(str(_path(variant)))  # its own, so that no other kernel's types are changed
    wanted = {f"{name}_{dtype}": types for name, types in arguments.items() for dtype in DTYPES.values()}
    there = {name: getattr(library, name) for name in wanted if hasattr(library, name)}
    if not there:
        return None
    for name, function in there.items():
        function.argtypes, function.restype = wanted[name], ctypes.c_bool
    if not gives_right_values(library):
        kinds = ", ".join(arguments)
        log.warning("%s of variant %s gives other values than PyTorch here; left unused.", kinds, variant)
        return None
    return library


def call(library: ctypes.CDLL, name: str, dtype: torch.dtype, *arguments: object) -> None:
    """Call a function of a library.

    Raises: MemoryError if it could not have the memory that it needs.
    """
    if not getattr(library, f"{name}_{DTYPES[dtype]}")(*arguments):
        raise MemoryError(f"there is not enough memory for {name}; a smaller batch needs less")


@lru_cache(maxsize=8)
def _choose(switch: str) -> str | None:
    known, usable = known_variants(), usable_variants()
    if switch == "off":
        return None
    if switch == "on":
        if not usable:
            log.info("No compiled kernels are installed for this processor; PyTorch computes.")
        return usable[-1] if usable else None
    if switch not in known:
        raise TiebreakError(
            f'{SWITCH} must be {", ".join(("on", "off", *known[:-1]))} or {known[-1]}, got "{switch}".'
        )
    if switch not in usable:
        raise TiebreakError(
            f"{SWITCH} asks for {switch}, which this processor or this installation has not; "
            f"it has {', '.join(usable) or 'none'}. Leave it unset to have the best of them."
        )
    return switch


def known_variants() -> tuple[str, ...]:
    """Of this kind of processor."""
    machine = platform.machine().lower()
    return next((variants for names, variants in VARIANTS.items() if machine in names), ())


def _path(variant: str) -> Path:
    return FOLDER / f"_{variant}.so"


@lru_cache(maxsize=8)
def _level(path: Path) -> int:
    """How many variants beside the first this processor can use."""
    ask = ctypes.CDLL(str(path)).processor_level
    ask.restype = NUMBER
    return int(ask())
