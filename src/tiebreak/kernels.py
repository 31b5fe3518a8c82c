"""Two inner loops that PyTorch has no fast form of on a CPU: functions that each have a plain PyTorch twin.

`kernels.cpp` is compiled once with the machine's own C++ compiler, about a second, and kept in the cache.
Where there is no compiler, or what it made does not give the twin's values, the twin computes: the values are
the same.

Shape letters: N images of the whole, B images of a batch, C channels, H height, W width.
"""

import ctypes
import hashlib
import logging
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tiebreak.files import cache_root

SOURCE = Path(__file__).with_name("kernels.cpp")
# Without contraction a product is rounded before it is added to, as PyTorch does it.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC")
COMPILERS = ("c++", "g++", "clang++")
COMPILE_SECONDS = 60.0  # until a compiler that hangs is given up
DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}

log = logging.getLogger(__name__)


def max_pool_relu(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H//2 W//2"]:
    """The largest of each 2x2 pixels, then ReLU. Compiled for channels_last images on a CPU."""
    library = load_kernels() if _is_dense(images) else None
    return max_pool_relu_twin(images) if library is None else _compiled_max_pool_relu(images, library)


def max_pool_relu_twin(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H//2 W//2"]:
    """`max_pool_relu` in PyTorch."""
    return F.relu(F.max_pool2d(images, 2))


def gather_normalised(
    images: UInt8[Tensor, "N C H W"],
    chosen: Int64[Tensor, " B"],
    scale: Float[Tensor, "C 1 1"],
    shift: Float[Tensor, "C 1 1"],
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Float[Tensor, "B C H W"]:
    """The chosen images as bytes * scale + shift (computed in float32), in one pass if compiled.

    Raises: IndexError if there is no image of a chosen number.
    """
    on_cpu = images.device.type == "cpu" and images.is_contiguous() and chosen.is_contiguous()
    library = load_kernels() if on_cpu and dtype in DTYPES else None
    if library is None:
        return gather_normalised_twin(images, chosen, scale, shift, dtype, channels_last)
    numbers = chosen.numpy()
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(images):
        raise IndexError(f"there are images 0 to {len(images) - 1}, asked for {chosen.tolist()}")
    _, channels, height, width = images.shape
    shape = (len(chosen), channels, height, width)
    batch = torch.empty(shape, dtype=dtype, memory_format=_memory_format(channels_last))
    getattr(library, f"gather_{DTYPES[dtype]}")(
        images.data_ptr(),
        chosen.data_ptr(),
        batch.data_ptr(),
        scale.contiguous().data_ptr(),
        shift.contiguous().data_ptr(),
        *(len(chosen), channels, height * width, channels_last),
    )
    return batch


def gather_normalised_twin(
    images: UInt8[Tensor, "N C H W"],
    chosen: Int64[Tensor, " B"],
    scale: Float[Tensor, "C 1 1"],
    shift: Float[Tensor, "C 1 1"],
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Float[Tensor, "B C H W"]:
    """`gather_normalised` in PyTorch, on any device."""
    batch = images.index_select(0, chosen).to(torch.float32).mul_(scale).add_(shift)
    return batch.to(dtype, memory_format=_memory_format(channels_last))


@lru_cache(maxsize=1)
def load_kernels() -> ctypes.CDLL | None:
    """The compiled kernels, ready to call; None where they cannot be had. Compiled at the first call."""
    try:
        library = ctypes.CDLL(str(compile_kernels(cache_root() / "kernels")))
    except (OSError, subprocess.SubprocessError) as error:
        log.info("Computing without compiled kernels: %s", error)
        return None
    _declare(library)
    if not _gives_the_values_of_the_twins(library):
        log.warning("The compiled kernels give other values than PyTorch on this machine; left unused.")
        return None
    return library


def compile_kernels(folder: Path) -> Path:
    """The shared library in `folder`; made first if it is not there for this source, compiler and processor.

    Raises: OSError if there is no compiler or the folder cannot be written; SubprocessError if compiling
    fails.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise FileNotFoundError(f"no C++ compiler found (tried {', '.join(COMPILERS)})")
    parts = (SOURCE.read_text(), *FLAGS, compiler, _processor())
    target = folder / f"{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:16]}.so"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        # Processes that compile at the same time must not see each other's half-written file.
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / target.name
            command = [compiler, *FLAGS, str(SOURCE), "-o", str(made)]
            # A compiler by its name in PATH, our own source: nothing of this comes from a stranger.
            subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_SECONDS)  # nosec B603
            made.replace(target)
    return target


def _compiled_max_pool_relu(images: Tensor, library: ctypes.CDLL) -> Tensor:
    return _MaxPoolRelu.apply(images, library)  # type: ignore[no-untyped-call]


class _MaxPoolRelu(torch.autograd.Function):
    """Remembers of each output only which of the four pixels it came from, in one byte."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, library: ctypes.CDLL) -> Tensor:
        count, channels, height, width = images.shape
        shape = (count, channels, height // 2, width // 2)
        pooled = torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last)
        source = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        kernel = getattr(library, f"pool_relu_{DTYPES[images.dtype]}")
        sizes = (count, height, width, channels)
        kernel(images.data_ptr(), pooled.data_ptr(), source.data_ptr(), *sizes)
        ctx.save_for_backward(source)
        ctx.library, ctx.shape = library, images.shape
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (source,) = ctx.saved_tensors
        count, channels, height, width = ctx.shape
        spread = torch.empty(ctx.shape, dtype=gradient.dtype, memory_format=torch.channels_last)
        if height % 2 or width % 2:  # the kernel leaves an odd last row and column as they are
            spread.zero_()
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        kernel = getattr(ctx.library, f"pool_relu_backward_{DTYPES[gradient.dtype]}")
        sizes = (count, height, width, channels)
        kernel(gradient.data_ptr(), source.data_ptr(), spread.data_ptr(), *sizes)
        return spread, None


def _is_dense(images: Tensor) -> bool:
    """Whether the pooling kernel can read these images: on the CPU, of its types, the channels innermost."""
    return (
        images.device.type == "cpu"
        and images.dtype in DTYPES
        and images.is_contiguous(memory_format=torch.channels_last)
    )


def _memory_format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


def _declare(library: ctypes.CDLL) -> None:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    arguments = {
        "pool_relu": [*[pointer] * 3, *[number] * 4],
        "pool_relu_backward": [*[pointer] * 3, *[number] * 4],
        "gather": [*[pointer] * 5, *[number] * 4],
    }
    for name, types in arguments.items():
        for dtype in DTYPES.values():
            function = getattr(library, f"{name}_{dtype}")
            function.argtypes, function.restype = types, None


def _gives_the_values_of_the_twins(library: ctypes.CDLL) -> bool:
    """A trial of pooling and its gradient on values with ties, against PyTorch."""
    values = torch.arange(2 * 40 * 5 * 6).mul(7919).remainder(23).sub(11)
    for dtype in DTYPES:
        results = []
        for pool in (max_pool_relu_twin, partial(_compiled_max_pool_relu, library=library)):
            images = values.to(dtype).view(2, 40, 5, 6).to(memory_format=torch.channels_last).requires_grad_()
            with torch.enable_grad():
                pooled = pool(images)
                pooled.backward(torch.ones_like(pooled))
            results.append((pooled.detach(), images.grad))
        if not all(map(torch.equal, *results)):
            return False
    return True


def _processor() -> str:
    """What decides which instructions the compiler may use; a cache can be shared by unlike machines."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
    lines = cpuinfo.read_text().split("\n\n")[0].splitlines()
    return "\n".join(sorted(line for line in lines if line.startswith(("model name", "flags", "Features"))))
