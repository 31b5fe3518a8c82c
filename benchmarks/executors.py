"""What the executors cost and bring: a study serially, in processes and on Ray, and the cost of an empty run.

    python benchmarks/executors.py --repeats 5 --out benchmarks/executors.md

The study is timed from the first task to the last news, the start of the workers or of Ray included, the
executors in turn. An empty run is one epoch of a linear model on 40 images of one pixel.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch

from tiebreak.data.catalog import load_dataset
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.study.environment import processor_name
from tiebreak.study.plan import Execution
from tiebreak.study.where.execute import execute
from tiebreak.study.where.machine import available_cores
from tiebreak.study.where.task import RunFailure, RunFinished, RunId, Task
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import RunSpec

EXECUTORS = ("serial", "processes", "ray")


def make_tasks(models: list[str], seeds: int, epochs: int, val_size: int) -> list[Task]:
    return [
        Task(
            run=RunId(label=model, seed=seed, epochs=epochs),
            spec=RunSpec(model=model, recipe=Recipe(epochs=epochs), seed=seed, val_size=val_size),
        )
        for seed in range(seeds)
        for model in models
    ]


def empty_data() -> ImageDataset:
    images, labels = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1), torch.arange(40) % 2
    return make_dataset("empty", images, labels, images, labels, ("even", "odd"))


def compute_all(tasks: list[Task], data: ImageDataset, execution: Execution) -> Iterator[None]:
    """Gives something at the end of each run."""
    for run, news in execute(tasks, data, execution):
        if isinstance(news, RunFailure):
            raise SystemExit(f"{run.label} failed: {news.reason}")
        if isinstance(news, RunFinished):
            yield


def compare_executors(executors: list[str], dataset: str, epochs: int, repeats: int) -> list[str]:
    """A table row for each executor; they take turns, so that a busy moment hits all."""
    data = load_dataset(dataset)
    tasks = make_tasks(["mlp", "cnn"], 4, epochs, len(data.train) // 10)
    seconds: dict[str, list[float]] = {executor: [] for executor in executors}
    for _ in range(repeats):
        for executor in executors:
            execution = Execution(device="cpu", executor=executor)
            started = time.perf_counter()
            for _ in compute_all(tasks, data, execution):
                pass
            seconds[executor].append(time.perf_counter() - started)
    serial = statistics.median(seconds["serial"])
    return [
        f"| {executor} | {statistics.median(times):.1f} | {min(times):.1f} to {max(times):.1f} | "
        f"{serial / statistics.median(times):.2f} |"
        for executor, times in seconds.items()
    ]


def cost_of_empty_runs(executor: str, number: int) -> str:
    """A table row: milliseconds by the clock and of this process's processor time, after the first run."""
    ended = compute_all(
        make_tasks(["linear"], number + 1, 1, 10), empty_data(), Execution(device="cpu", executor=executor)
    )
    next(ended)
    clock, processor = time.perf_counter(), time.process_time()
    for _ in ended:
        pass
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return f"| {executor} | {number:,} | {clock / number * 1000:.1f} | {processor / number * 1000:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="fashion-small")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--empty", type=int, default=1_000, help="how many empty runs")
    parser.add_argument("--executors", nargs="+", default=list(EXECUTORS), choices=EXECUTORS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()

    empty = [cost_of_empty_runs(executor, given.empty) for executor in given.executors]
    command = f"python benchmarks/executors.py --repeats {given.repeats} --epochs {given.epochs}"
    lines = [
        "# Executors",
        "",
        f"Command: `{command} --out benchmarks/executors.md`",
        "",
        f"{processor_name()}, {len(available_cores())} cores; {platform.system()}; "
        f"Python {platform.python_version()}, torch {torch.__version__}"
        + (f", ray {version('ray')}." if "ray" in given.executors else "."),
        "",
        "| empty runs | number | ms a run by the clock | ms a run of the driver's processor time |",
        "| --- | ---: | ---: | ---: |",
        *empty,
    ]
    if given.repeats:
        lines += [
            "",
            f"`compare mlp cnn --seeds 4 --epochs {given.epochs}` on {given.dataset}, start included:",
            "",
            "| executor | median s | spread | times as fast as serial |",
            "| --- | ---: | ---: | ---: |",
            *compare_executors(given.executors, given.dataset, given.epochs, given.repeats),
        ]
    text = "\n".join(lines) + "\n"
    if given.out:
        given.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
