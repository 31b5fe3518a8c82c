"""How long `tiebreak judge` takes to the verdict and to its end with the page, and how much memory.

    python benchmarks/judge.py --repeats 5 --out benchmarks/judge.md

One Parquet file with a row for each model, seed and example: the true class and the predicted one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl
from table_file import write_table


@dataclass(frozen=True, kw_only=True)
class Size:
    models: int
    seeds: int
    examples: int
    goal: str  # seconds to the verdict, and memory

    def __str__(self) -> str:
        return f"{self.models} x {self.seeds} x {self.examples:,}"


SIZES = (
    Size(models=2, seeds=5, examples=10_000, goal="1.5 s"),
    Size(models=10, seeds=10, examples=10_000, goal="3 s, 1 GB"),
    Size(models=2, seeds=3, examples=1_000_000, goal="20 s, 3 GB"),
)


def write_answers(path: Path, size: Size) -> None:
    """Answers of models that are right in 90%, 89%, ... of ten classes."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 10, size.examples)
    tables = []
    for model in range(size.models):
        for seed in range(size.seeds):
            right = random.random(size.examples) < 0.9 - 0.01 * model
            answers = np.where(right, truth, (truth + random.integers(1, 10, size.examples)) % 10)
            columns = {"id": np.arange(size.examples), "label": truth, "prediction": answers}
            tables.append(
                pl.DataFrame(columns).with_columns(model=pl.lit(f"model{model}"), seed=pl.lit(seed))
            )
    pl.concat(tables).write_parquet(path)


def judge_once(path: Path, out: Path) -> tuple[float, float, float]:
    """Seconds to the verdict, seconds to the end, gigabytes at most.

    Raises: SystemExit if the command fails.
    """
    command = [sys.executable, "-m", "tiebreak", "judge", str(path), "--out", str(out)]
    begun, verdict = time.perf_counter(), 0.0
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not verdict and "95% CI" in line:
                verdict = time.perf_counter() - begun
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or not verdict:
        raise SystemExit(f"tiebreak judge ended with {process.returncode}")
    return verdict, time.perf_counter() - begun, used.ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/judge.md"))
    arguments = parser.parse_args()
    lines = [
        "| models x seeds x examples | seconds to the verdict | to the end | GB | goal |",
        "| --- | --- | --- | ---: | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = Path(folder, "answers.parquet")
            write_answers(path, size)
            taken = [
                judge_once(path, Path(folder, f"{size.examples}-{size.models}-{turn}"))
                for turn in range(arguments.repeats)
            ]
            to_verdict, to_end, memory = zip(*taken, strict=True)
            lines.append(
                f"| {size} | {median(to_verdict):.2f} ({min(to_verdict):.2f} to {max(to_verdict):.2f}) "
                f"| {median(to_end):.2f} ({min(to_end):.2f} to {max(to_end):.2f}) "
                f"| {max(memory):.2f} | {size.goal} |"
            )
    facts = f"Medians of {arguments.repeats} with range; the largest memory of any. All pairs are judged."
    write_table(arguments.out, "Predictions that were made elsewhere, judged", facts, lines)


if __name__ == "__main__":
    main()
