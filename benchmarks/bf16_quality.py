"""Does speed cost accuracy? The same seeds, split, order and initial weights, trained in bf16, in fp32, and
plainly: in fp32 without the compiled kernels, so with PyTorch's own convolutions.

    python benchmarks/bf16_quality.py --dataset cifar10 --seeds 8 --epochs 5 --out benchmarks/bf16_quality.md

The differences in accuracy with the project's own interval over paired seeds, which is held against half a
point. Each run is stored in --folder, so a stopped benchmark goes on where it was.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool
from table_file import write_table

from tiebreak.data.catalog import load_dataset
from tiebreak.data.dataset import ImageDataset
from tiebreak.evidence.compare.comparison import Comparison
from tiebreak.evidence.compare.pair import compare_predictions
from tiebreak.files import atomic_write
from tiebreak.training.placement.device import thread_count
from tiebreak.training.placement.placement import Precision
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import RunResult, RunSpec, train_run

MARGIN = 0.005  # half a point
Variant = Literal["bf16", "fp32", "plain"]
VARIANTS: tuple[Variant, ...] = ("bf16", "fp32", "plain")
PAIRS: tuple[tuple[Variant, Variant], ...] = (("bf16", "fp32"), ("bf16", "plain"), ("fp32", "plain"))
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, eq=False)
class Correct:
    """Which images a run got right: of its own validation split, and of the test part."""

    val: Bool[np.ndarray, " V"]
    test: Bool[np.ndarray, " T"]


@contextmanager
def kernels_off() -> Iterator[None]:
    """Let PyTorch compute all, inside the block."""
    os.environ["TIEBREAK_KERNELS"] = "off"
    try:
        yield
    finally:
        del os.environ["TIEBREAK_KERNELS"]


def train(folder: Path, spec: RunSpec, data: ImageDataset, variant: Variant) -> Correct:
    """The outcome of one run; read if it is stored already."""
    what = json.dumps([spec.model_dump(mode="json"), data.fingerprint, variant])
    path = folder / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.npz"
    if not path.is_file():
        with kernels_off() if variant == "plain" else nullcontext():
            precision: Precision = "fp32" if variant == "plain" else variant
            *_, result = train_run(spec, data, CPU, precision=precision)
        assert isinstance(result, RunResult)
        found = result.predictions
        with atomic_write(path) as file:
            np.savez(
                file,
                val=found.val_probs.argmax(axis=1) == found.val_labels,
                test=found.test_probs.argmax(axis=1) == found.test_labels,
            )
    with np.load(path) as arrays:
        correct = Correct(val=arrays["val"], test=arrays["test"])
    print(f"{spec.model}, seed {spec.seed}, {variant}: validation {correct.val.mean():.4f}", flush=True)
    return correct


def rows_of(model: str, runs: dict[Variant, list[Correct]]) -> list[str]:
    rows = []
    for one, other in PAIRS:
        # Each seed has its own validation images: what varies from seed to seed holds their luck too.
        val = [np.stack([correct.val for correct in runs[variant]]) for variant in (one, other)]
        test = [np.stack([correct.test for correct in runs[variant]]) for variant in (one, other)]
        name = f"{model} | {one} - {other}"
        rows += [
            row(f"{name} | validation", val, compare_predictions(*val, fixed_test_set=True)),
            row(f"{name} | test", test, compare_predictions(*test)),
        ]
    return rows


def row(start: str, found: list[np.ndarray], comparison: Comparison) -> str:
    one, other = (100 * correct.mean(axis=1) for correct in found)
    low, high = comparison.ci_low, comparison.ci_high
    inside = "yes" if low > -MARGIN and high < MARGIN else "no"
    return (
        f"| {start} | {one.mean():.2f} | {other.mean():.2f} | {100 * comparison.difference:+.2f} "
        f"| {100 * low:+.2f} to {100 * high:+.2f} | {inside} "
        f"| {' '.join(f'{difference:+.2f}' for difference in one - other)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--val-size", type=int, default=5_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(".cache/bf16_quality"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/bf16_quality.md"))
    arguments = parser.parse_args()
    data = load_dataset(arguments.dataset, data_dir=arguments.data_dir)
    recipe = Recipe(epochs=arguments.epochs)
    rows: list[str] = []
    with thread_count(arguments.threads):
        for model in arguments.models:
            runs: dict[Variant, list[Correct]] = {variant: [] for variant in VARIANTS}
            for seed in range(arguments.seeds):
                spec = RunSpec(model=model, recipe=recipe, seed=seed, val_size=arguments.val_size)
                for variant in VARIANTS:
                    runs[variant].append(train(arguments.folder, spec, data, variant))
            rows += rows_of(model, runs)
    facts = (
        f"{data.name}, {arguments.val_size:,} validation images, {arguments.epochs} epochs, "
        f"{arguments.seeds} paired seeds. Accuracies and differences in points; plain: fp32 without the "
        "compiled kernels. The interval counts new seeds and new images."
    )
    lines = [
        "| model | pair | images | first | second | difference | 95% CI | within half a point | each pair |",
        "| --- | --- | --- | ---: | ---: | ---: | --- | --- | --- |",
        *rows,
    ]
    write_table(arguments.out, "What speed costs in accuracy", facts, lines)


if __name__ == "__main__":
    main()
