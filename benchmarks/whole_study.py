"""A whole study beside the case study's loop, run once for each of the study's runs.

    python benchmarks/whole_study.py --data-dir FOLDER --seeds 4 --epochs 5 --rounds 5

`tiebreak compare mlp cnn` on CIFAR-10 as a user starts it, from the shell's prompt to the page; and the loop,
which has all cores. In each round the study is run whole, and of the loop one epoch of each model is timed,
with its share of evaluation, one image at a time as in training; that times epochs and seeds is its time.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from table_file import write_table
from torch import nn
from torch.utils.data import DataLoader

from tiebreak.bench.loops import BATCH_SIZE, OneByOne, case_study_steps
from tiebreak.data.catalog import load_dataset
from tiebreak.data.dataset import ImageDataset, Part
from tiebreak.models.catalog import build_model
from tiebreak.study.where.machine import available_cores
from tiebreak.training.placement.device import thread_count

MODELS = ("mlp", "cnn")
VAL_IMAGES = 5_000  # of the training part, as in the case study


def study_seconds(data_dir: Path, seeds: int, epochs: int) -> float:
    """The command, in a process of its own, into a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tiebreak", "compare", *MODELS, "--dataset", "cifar10"]
        command += ["--data-dir", str(data_dir), "--seeds", str(seeds), "--epochs", str(epochs)]
        started = time.perf_counter()
        subprocess.run([*command, "--out", f"{folder}/study"], check=True, capture_output=True)
        return time.perf_counter() - started


def loop_seconds(name: str, data: ImageDataset, epochs: int) -> float:
    """One epoch of the loop, with the validation after it and its share of the test at the end."""
    train = Part(
        images=data.train_images[VAL_IMAGES:],
        labels=data.train_labels[VAL_IMAGES:],
        mean=data.mean,
        std=data.std,
    )
    model = build_model(name, data.image_shape, data.num_classes)
    steps = case_study_steps(model, train)
    next(steps)  # the first step allocates memory and chooses kernels
    started = time.perf_counter()
    for _ in itertools.islice(steps, len(train) // BATCH_SIZE):
        pass
    trained = time.perf_counter() - started
    seen, evaluated = evaluate_one_by_one(model, data.test)
    return trained + evaluated * (VAL_IMAGES + len(data.test) / epochs) / seen


@torch.no_grad()
def evaluate_one_by_one(model: nn.Module, part: Part) -> tuple[int, float]:
    """Images seen and seconds taken."""
    model.eval()
    correct = 0
    started = time.perf_counter()
    for images, labels in DataLoader(OneByOne(part), BATCH_SIZE):
        correct += (model(images).argmax(dim=1) == labels).sum().item()
    return len(part), time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="that holds cifar-10-batches-bin")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/whole_study.md"))
    arguments = parser.parse_args()
    data = load_dataset("cifar10", data_dir=arguments.data_dir)
    threads = len(available_cores())
    studies, loops = [], []
    for turn in range(arguments.rounds):
        studies.append(study_seconds(arguments.data_dir, arguments.seeds, arguments.epochs))
        with thread_count(threads):
            an_epoch = [loop_seconds(name, data, arguments.epochs) for name in MODELS]
        loops.append(arguments.seeds * arguments.epochs * sum(an_epoch))
        told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in zip(MODELS, an_epoch, strict=True))
        print(f"{turn}: study {studies[-1]:.0f} s; an epoch of the loop: {told}", file=sys.stderr, flush=True)
    ratios = [loop / study for loop, study in zip(loops, studies, strict=True)]
    rows = [
        ("tiebreak, seconds", studies),
        (f"the loop, {len(MODELS) * arguments.seeds} runs, seconds", loops),
        ("times", ratios),
    ]
    facts = (
        f"`tiebreak compare {' '.join(MODELS)} --dataset cifar10 --seeds {arguments.seeds} --epochs "
        f"{arguments.epochs}`, whole, against the case study's loop with {threads} threads: one epoch of "
        f"each model timed in each round, times epochs and seeds. {arguments.rounds} rounds."
    )
    lines = [
        "| | median | lowest | highest |",
        "| --- | ---: | ---: | ---: |",
        *(f"| {name} | {median(of):.1f} | {min(of):.1f} | {max(of):.1f} |" for name, of in rows),
    ]
    write_table(arguments.out, "A whole study", facts, lines)


if __name__ == "__main__":
    main()
