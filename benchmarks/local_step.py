"""How long a training step of `local` takes beside the CNN's at the same width, each as a run prepares it.

    python benchmarks/local_step.py [--width 32] [--threads 1] [--rounds 15] [--seconds 0.5]

A step is all that a run does with a batch of 128 images of 3 x 32 x 32. The two models take turns, so that a
busy machine is busy for both; the ratio is taken within a round.
"""

import argparse
from statistics import median

import torch

from tiebreak.bench.loops import BATCH_SIZE, PRECISIONS, bench_part, random_images, tiebreak_loops
from tiebreak.training.placement.device import processor_name, thread_count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each model in each round")
    arguments = parser.parse_args()
    data = random_images()
    part = bench_part(data)
    print(
        f"{processor_name()}, torch {torch.__version__}, {arguments.threads} thread(s), width "
        f"{arguments.width}, batch size {BATCH_SIZE}; medians of {arguments.rounds} rounds"
    )
    print("precision  cnn ms  local ms  local / cnn (lowest to highest round)")
    with thread_count(arguments.threads):
        cnn, local = (
            tiebreak_loops(f"{name}(width={arguments.width})", data, part) for name in ("cnn", "local")
        )
        for precision in PRECISIONS:
            steps: list[list[float]] = [[], []]  # milliseconds a step, by round
            for _ in range(arguments.rounds):
                for loop, found in zip((cnn[precision], local[precision]), steps, strict=True):
                    found.append(1000 / loop.steps_a_second(arguments.seconds))
            ratios = [of_local / of_cnn for of_cnn, of_local in zip(*steps, strict=True)]
            print(
                f"{precision:<9}  {median(steps[0]):6.1f}  {median(steps[1]):8.1f}  {median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
