"""How long a training step of `local` takes beside the CNN's, at the same widths, in fp32 and bf16.

    python benchmarks/local_step.py [--width 32] [--threads 1] [--repeats 15]

A step is zero_grad, forward, loss, backward and fused Adam on a batch of 128 images of 3x32x32. The two
models take turns, so that a busy machine is busy for both; the table gives the median and the fastest step.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from tiebreak.models.cnn import SimpleCNN
from tiebreak.models.local import LocalNet

BATCH = 128


def make_step(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, bf16: bool) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(0, 10, (BATCH,))
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), width {arguments.width}, batch {BATCH}")
    print("precision  cnn ms (fastest)  local ms (fastest)  ratio of medians")
    for bf16 in (False, True):
        steps = [
            make_step(kind(width=arguments.width), images, labels, bf16) for kind in (SimpleCNN, LocalNet)
        ]
        times: list[list[float]] = [[], []]
        for repeat in range(arguments.repeats + 2):
            for step, taken in zip(steps, times, strict=True):
                started = time.perf_counter()
                step()
                if repeat >= 2:  # the first steps allocate and compile kernels
                    taken.append(1000 * (time.perf_counter() - started))
        cnn, local = (statistics.median(taken) for taken in times)
        print(
            f"{'bf16' if bf16 else 'fp32':<9}  {cnn:6.1f} ({min(times[0]):.1f})     "
            f"{local:6.1f} ({min(times[1]):.1f})       {local / cnn:.2f}"
        )


if __name__ == "__main__":
    main()
