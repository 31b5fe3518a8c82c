"""How time and memory of training grow with images, seeds, workers, image size and model width.

    python benchmarks/growth.py --rounds 3 --out benchmarks/growth.md

Each point is one process (or several at once: workers) that trains on random images for one epoch; points
take turns, the median over rounds counts. Seconds are those of the slowest worker. Memory is the peak over
what a process holds once tiebreak is imported, summed over workers. The exponent e of cost ~ x^e is fitted by
least squares to the logarithms.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from table_file import write_table

from tiebreak.data.dataset import make_dataset
from tiebreak.rng import stream
from tiebreak.training.placement.device import thread_count
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import RunResult, RunSpec, train_run


@dataclass(frozen=True, kw_only=True)
class Point:
    """One amount of work."""

    images: int = 4_096  # for training
    seeds: int = 1
    workers: int = 1  # processes at once, each of which does the work
    size: int = 32  # height and width of an image
    width: int = 32  # filters of the CNN's first layer


@dataclass(frozen=True, kw_only=True)
class Cost:
    seconds: float  # of training, without evaluation
    megabytes: float


VALUES = {
    "images": (2_048, 4_096, 8_192, 16_384),
    "seeds": (1, 2, 4, 8),
    "workers": (1, 2, 4),
    "size": (16, 32, 48, 64),
    "width": (16, 32, 64, 128),
}


def work(point: Point, precision: str) -> Cost:
    """Do the work in this process."""
    before = peak_megabytes()
    generator = stream(0, "growth")
    shape = (point.images + 100, 3, point.size, point.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, shape[:1], generator=generator)
    classes = tuple(map(str, range(10)))
    data = make_dataset("random", images, labels, images[:100], labels[:100], classes)
    seconds = 0.0
    with thread_count(1):
        for seed in range(point.seeds):
            model = f"cnn(width={point.width})"
            spec = RunSpec(model=model, recipe=Recipe(epochs=1), seed=seed, val_size=100, stratify=False)
            for event in train_run(spec, data, torch.device("cpu"), precision=precision):
                if isinstance(event, RunResult):
                    seconds += event.timing.train_seconds
    return Cost(seconds=seconds, megabytes=peak_megabytes() - before)


def peak_megabytes() -> float:
    unit = 1 if platform.system() == "Darwin" else 1024  # what getrusage counts in
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(point: Point, precision: str) -> Cost:
    """Do the work in processes of its own."""
    command = [sys.executable, __file__, "--point", json.dumps(asdict(point)), "--precision", precision]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(point.workers)]
    costs = [Cost(**json.loads(process.communicate()[0])) for process in processes]
    return Cost(seconds=max(cost.seconds for cost in costs), megabytes=sum(cost.megabytes for cost in costs))


def exponent(values: list[float], costs: list[float]) -> float:
    slope, _ = np.polyfit(np.log(values), np.log(costs), 1)
    return float(slope)


def table(name: str, found: dict[int, list[Cost]]) -> list[str]:
    seconds = {value: median(cost.seconds for cost in costs) for value, costs in found.items()}
    megabytes = {value: median(cost.megabytes for cost in costs) for value, costs in found.items()}
    spread = {
        value: f"{min(cost.seconds for cost in costs):.2f} to {max(cost.seconds for cost in costs):.2f}"
        for value, costs in found.items()
    }
    return [
        f"## {name}",
        "",
        f"Time grows with exponent {exponent(list(seconds), list(seconds.values())):.2f}, memory with "
        f"{exponent(list(megabytes), list(megabytes.values())):.2f}.",
        "",
        f"| {name} | seconds | spread | MB |",
        "| ---: | ---: | --- | ---: |",
        *(f"| {v:,} | {seconds[v]:.2f} | {spread[v]} | {megabytes[v]:,.0f} |" for v in found),
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--point", type=json.loads, help="measure only this, and print it")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/growth.md"))
    arguments = parser.parse_args()
    if arguments.point is not None:
        print(json.dumps(asdict(work(Point(**arguments.point), arguments.precision))))
        return
    found: dict[str, dict[int, list[Cost]]] = {
        name: {value: [] for value in values} for name, values in VALUES.items()
    }
    for _ in range(arguments.rounds):
        for name, values in VALUES.items():
            for value in values:
                cost = measure(replace(Point(), **{name: value}), arguments.precision)
                found[name][value].append(cost)
                print(name, value, cost, file=sys.stderr, flush=True)
    base = Point()
    facts = (
        f"Precision {arguments.precision}. One epoch of the CNN; where not said otherwise {base.images:,} "
        f"images of 3 x {base.size} x {base.size}, width {base.width}, {base.seeds} seed, {base.workers} "
        f"worker of one thread. Medians of {arguments.rounds} rounds."
    )
    lines = (line for name, values in found.items() for line in table(name, values))
    write_table(arguments.out, "Growth of cost", facts, lines)


if __name__ == "__main__":
    main()
