"""The same two models' answers judged by evalci, by evalstats and here: one run each, 400 images.

    python benchmarks/beside.py --bin FOLDER --out benchmarks/beside.md

FOLDER: where the commands `evalci` and `evalstats` are; give them an environment of their own.
"""

import argparse
import csv
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from table_file import write_table

import tiebreak as tb

IMAGES = 400


def write_answers(folder: Path) -> tuple[Path, Path, Path]:
    """A file a model as evalci takes them, and one of both as evalstats takes them."""
    rng = np.random.default_rng(3)
    hard = rng.normal(0, 1, IMAGES)
    right = {
        name: (hard + rng.normal(0, 0.7, IMAGES) < shift) for name, shift in (("resnet", 1.0), ("vit", 0.7))
    }
    paths = [folder / f"{name}.csv" for name in right]
    for path, ok in zip(paths, right.values(), strict=True):
        _write(path, ("item_id", "model", "score"), [(n, path.stem, int(o)) for n, o in enumerate(ok)])
    both = folder / "both.csv"
    _write(
        both,
        ("input", *right),
        [(n, *map(int, row)) for n, row in enumerate(zip(*right.values(), strict=True))],
    )
    return paths[0], paths[1], both


def _write(path: Path, head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("beside.md"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        a, b, both = write_answers(Path(root))
        found = tb.judge([a, b], checkpoints=True, out=Path(root) / "judged").judgements[0].verdict.comparison
        rows = [
            (
                "tiebreak judge --checkpoints",
                found.difference,
                found.ci_low,
                found.ci_high,
                f"{found.p_value:.4f}",
            )
        ]
        for method in ("mcnemar", "permutation", "bootstrap"):
            command = [options.bin / "evalci", "compare", "--format", "csv", "--method", method, a, b]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            numbers = re.search(r"Δ=([\d.-]+), 95% CI \[([\d.-]+), ([\d.-]+)\].*p=([\d.]+)", said)
            assert numbers is not None, said
            rows.append((f"evalci, {method}", *map(float, numbers.groups()[:3]), numbers[4]))
        said = subprocess.run(
            [options.bin / "evalstats", "analyze", both], check=True, capture_output=True, text=True
        )
        numbers = re.search(r"resnet +vit .*?([+-][\d.]+) +([+-][\d.]+) +([+-][\d.]+)", said.stdout)
        assert numbers is not None, said.stdout
        rows.append(("evalstats analyze", *map(float, numbers.groups()), "-"))
    lines = ["| who | resnet - vit | 95% CI | p |", "| --- | ---: | --- | ---: |"]
    lines += [f"| {who} | {d:.4f} | {low:.4f} to {high:.4f} | {p} |" for who, d, low, high, p in rows]
    write_table(
        options.out, "One run each, judged by others", f"Simulated answers to {IMAGES} images.", lines
    )


if __name__ == "__main__":
    main()
