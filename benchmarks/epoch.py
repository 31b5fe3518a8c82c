"""Training speed on images of CIFAR-10's size: the case study's loop, in-memory tensors, and tiebreak.

    python benchmarks/epoch.py --threads 1 2 --rounds 7 --seconds 3 --out benchmarks/epoch.md

What `tiebreak bench` measures, with more patience. An epoch of the case study has 45,000 images; side by
side, the seconds are those until as many epochs as there are cores are trained, divided by their number.
"""

import argparse
from pathlib import Path

from table_file import write_table

from tiebreak.bench.loops import random_images
from tiebreak.bench.measure import Bench, Effort, Row, run_bench
from tiebreak.bench.table import kernels_text

CASE_STUDY_IMAGES = 45_000  # in one of its epochs
TARGETS = {  # times the case study's loop
    ("mlp", "tiebreak fp32"): 3.0,
    ("mlp", "tiebreak bf16"): 5.0,
    ("cnn", "tiebreak fp32"): 1.5,
    ("cnn", "tiebreak bf16"): 3.5,
}


def row_text(row: Row) -> str:
    target = TARGETS.get((row.model, row.variant.partition(",")[0]))
    return (
        f"| {row.model} | {row.variant} | {row.images_per_second:,.0f} "
        f"| {CASE_STUDY_IMAGES / row.images_per_second:.1f} | {row.ratio:.2f} "
        f"| {row.ratio_low:.2f} to {row.ratio_high:.2f} | {row.peak_share:.0%} "
        f"| {f'{target:g}' if target else ''} |"
    )


def section(bench: Bench) -> list[str]:
    peaks = ", ".join(f"{name} {gflops:,.0f}" for name, gflops in bench.peak_gflops.items())
    return [
        f"## {bench.threads} thread{'s' if bench.threads > 1 else ''}",
        "",
        f"Load at the start {bench.load:.1f}; best matrix products seen: {peaks} GFLOP/s.",
        "",
        "| model | variant | images/s | s/epoch | times | spread | of peak | target |",
        "| --- | --- | ---: | ---: | ---: | --- | ---: | ---: |",
        *map(row_text, bench.rows),
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each variant in each round")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/epoch.md"))
    arguments = parser.parse_args()
    effort = Effort(rounds=arguments.rounds, seconds=arguments.seconds)
    data = random_images()
    benches = [run_bench(data, threads, effort) for threads in arguments.threads]
    first = benches[0]
    facts = (
        f"Batch size 128; {first.images}. Variants take turns; medians of {effort.rounds} rounds of "
        f"{effort.seconds:g} s each. Times: to the case study's loop of the same round, with as many threads "
        "as the heading says; side by side: one thread a run, all runs together. Spread: lowest to highest "
        "round. Of peak: of the matrix peak measured in the same round in the same number format; a plain "
        "convolution's products are counted, of which Winograd's algorithm needs fewer than half. `auto` "
        f"chooses {first.auto}; kernels: {kernels_text(first)}."
    )
    lines = (line for bench in benches for line in section(bench))
    write_table(arguments.out, "Training speed of one run", facts, lines)


if __name__ == "__main__":
    main()
