"""Is bf16 as good as fp32? The same seeds, split, order and initial weights, trained in both.

    python benchmarks/bf16_quality.py --dataset cifar10 --seeds 8 --epochs 5 --out benchmarks/bf16_quality.md

The difference in validation accuracy with the project's own interval over paired seeds, which is held against
half a point. Each pair of runs is stored in --folder, so a stopped benchmark goes on where it was.
"""

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from table_file import write_table

from tiebreak.data.catalog import load_dataset
from tiebreak.data.dataset import ImageDataset
from tiebreak.evidence.comparison import Comparison, compare_predictions
from tiebreak.files import atomic_write
from tiebreak.training.device import thread_count
from tiebreak.training.precision import Precision
from tiebreak.training.recipe import Recipe
from tiebreak.training.run import RunResult, RunSpec, train_run

MARGIN = 0.005  # half a point
PRECISIONS: tuple[Precision, ...] = ("bf16", "fp32")
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, eq=False)
class Correct:
    """Which images a run got right: of its own validation split, and of the test part."""

    val: Bool[np.ndarray, " V"]
    test: Bool[np.ndarray, " T"]


def train(folder: Path, spec: RunSpec, data: ImageDataset, precision: Precision) -> Correct:
    """The outcome of one run; read if it is stored already."""
    what = json.dumps([spec.model_dump(mode="json"), data.fingerprint, precision])
    path = folder / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.npz"
    if not path.is_file():
        results = (event for event in train_run(spec, data, CPU, precision=precision))
        (result,) = (event for event in results if isinstance(event, RunResult))
        found = result.predictions
        with atomic_write(path) as file:
            np.savez(
                file,
                val=found.val_probs.argmax(axis=1) == found.val_labels,
                test=found.test_probs.argmax(axis=1) == found.test_labels,
            )
    with np.load(path) as arrays:
        correct = Correct(val=arrays["val"], test=arrays["test"])
    print(f"{spec.model}, seed {spec.seed}, {precision}: validation {correct.val.mean():.4f}", flush=True)
    return correct


def row(model: str, part: str, found: dict[Precision, np.ndarray], comparison: Comparison) -> str:
    bf16, fp32 = (100 * found[precision].mean(axis=1) for precision in PRECISIONS)
    low, high = comparison.ci_low, comparison.ci_high
    inside = "yes" if low > -MARGIN and high < MARGIN else "no"
    return (
        f"| {model} | {part} | {bf16.mean():.2f} | {fp32.mean():.2f} | {100 * comparison.difference:+.2f} "
        f"| {100 * low:+.2f} to {100 * high:+.2f} | {inside} "
        f"| {' '.join(f'{difference:+.2f}' for difference in bf16 - fp32)} |"
    )


def rows_of(model: str, runs: dict[Precision, list[Correct]]) -> list[str]:
    # Each seed has its own validation images: what varies from seed to seed holds their luck too.
    val = {precision: np.stack([correct.val for correct in runs[precision]]) for precision in PRECISIONS}
    test = {precision: np.stack([correct.test for correct in runs[precision]]) for precision in PRECISIONS}
    of_val = compare_predictions(val["bf16"], val["fp32"], fixed_test_set=True)
    of_test = compare_predictions(test["bf16"], test["fp32"])
    return [row(model, "validation", val, of_val), row(model, "test", test, of_test)]


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
            runs: dict[Precision, list[Correct]] = {precision: [] for precision in PRECISIONS}
            for seed in range(arguments.seeds):
                spec = RunSpec(model=model, recipe=recipe, seed=seed, val_size=arguments.val_size)
                for precision in PRECISIONS:
                    runs[precision].append(train(arguments.folder, spec, data, precision))
            rows += rows_of(model, runs)
    facts = (
        f"{data.name}, {arguments.val_size:,} validation images, {arguments.epochs} epochs, "
        f"{arguments.seeds} paired seeds. Accuracies and differences in points; difference: bf16 minus fp32. "
        "The interval counts new seeds and new images."
    )
    lines = [
        "| model | images | bf16 | fp32 | difference | 95% CI | within half a point | each pair |",
        "| --- | --- | ---: | ---: | ---: | --- | --- | --- |",
        *rows,
    ]
    write_table(arguments.out, "bf16 against fp32: validation accuracy", facts, lines)


if __name__ == "__main__":
    main()
