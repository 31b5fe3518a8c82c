"""Each variant of the compiled kernels that this processor can execute, beside PyTorch.

    python benchmarks/kernels.py [--rounds 9] [--out benchmarks/kernels.md]

One thread. What is measured is the processor time of the thread, in turns, so that other processes disturb
little. PyTorch and oneDNN are restricted to the variant's instructions, too. Forward pass and both gradients.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from table_file import write_table
from torch import Tensor

from tiebreak import kernels
from tiebreak.kernels.library import SWITCH

# What PyTorch and oneDNN call the instructions of a variant.
INSTRUCTIONS = {
    "baseline": ("default", "SSE41"),
    "avx2": ("avx2", "AVX2"),
    "avx512": ("avx512", "AVX512_CORE"),
    "avx512_bf16": ("avx512", "AVX512_CORE_BF16"),
}
SIZES = {  # images, channels in, channels out, height and width
    "conv_relu_pool": [(128, 3, 32, 32), (128, 32, 64, 16)],
    "conv3x3": [(64, 16, 32, 32), (64, 64, 64, 16), (64, 128, 128, 16), (64, 256, 256, 8), (64, 256, 512, 4)],
    "max_pool_relu": [(128, 32, 32, 32), (128, 64, 64, 16)],
}
COLUMNS = ("variant", "format", "kernel", "images, channels, size", "ms", "PyTorch ms", "times", "spread")


def operation(name: str, size: tuple[int, int, int, int], dtype: torch.dtype) -> list[Callable[[], None]]:
    """Forward and backward pass of a kernel, and of its twin."""
    count, channels, filters, side = size
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, channels, side, side, generator=generator)
    images = images.to(dtype, memory_format=torch.channels_last)
    leaves: list[Tensor] = [images.requires_grad_(channels > 3)]
    if name != "max_pool_relu":
        weight = torch.randn(filters, channels, 3, 3, generator=generator) / (3 * channels**0.5)
        leaves += [weight.requires_grad_(), torch.zeros(filters, requires_grad=True)]

    def both_ways(function: Callable[..., Tensor]) -> None:
        outputs = function(*leaves)
        torch.autograd.grad(
            outputs, [leaf for leaf in leaves if leaf.requires_grad], torch.ones_like(outputs)
        )

    return [partial(both_ways, getattr(kernels, f"{name}{twin}")) for twin in ("", "_twin")]


def measure(variant: str, rounds: int) -> None:
    """Print the rows of one variant; in a process of its own, as PyTorch chooses instructions once."""
    torch.set_num_threads(1)
    for dtype in (torch.float32, torch.bfloat16):
        if not kernels.has_convolution(dtype):
            continue
        for name, sizes in SIZES.items():
            for size in sizes:
                compared = operation(name, size, dtype)
                taken: list[list[float]] = [[], []]
                for _ in range(rounds + 1):
                    for run, seconds in zip(compared, taken, strict=True):
                        before = time.thread_time()
                        run()
                        seconds.append(time.thread_time() - before)
                ours, theirs = (seconds[1:] for seconds in taken)  # the first round allocates
                ratios = [of_theirs / of_ours for of_ours, of_theirs in zip(ours, theirs, strict=True)]
                count, channels, filters, side = size
                shape = f"{count}, {channels} -> {filters}, {side} x {side}"
                times = f"{1000 * median(ours):.1f} | {1000 * median(theirs):.1f} | {median(ratios):.2f}"
                spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
                first = f"{variant} | {str(dtype).removeprefix('torch.')} | {name}"
                print(f"| {first} | {shape} | {times} | {spread} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/kernels.md"))
    parser.add_argument("--variant", help="measure only this one, and print its rows")
    arguments = parser.parse_args()
    if arguments.variant:
        measure(arguments.variant, arguments.rounds)
        return
    lines = [f"| {' | '.join(COLUMNS)} |", "| --- | --- | --- | --- | ---: | ---: | ---: | --- |"]
    for variant in kernels.usable_variants():
        pytorch, onednn = INSTRUCTIONS[variant]
        restricted = {"ATEN_CPU_CAPABILITY": pytorch, "ONEDNN_MAX_CPU_ISA": onednn, SWITCH: variant}
        command = [sys.executable, __file__, "--variant", variant, "--rounds", str(arguments.rounds)]
        done = subprocess.run(
            command, env=os.environ | restricted, capture_output=True, text=True, check=True
        )
        lines += done.stdout.splitlines()
    facts = (
        f"One thread, its processor time; medians of {arguments.rounds} rounds in turns, forward pass and "
        "gradients together. PyTorch and oneDNN are restricted to the variant's instructions. Where a kernel "
        "does not pay, PyTorch computes both, and times is about 1."
    )
    write_table(arguments.out, "Compiled kernels beside PyTorch", facts, lines)


if __name__ == "__main__":
    main()
