"""How often the intervals are right on networks that were really trained, and beside the Multi-Bootstrap.

    python benchmarks/coverage_real.py --data digits --runs 150 --draws 1000 --out benchmarks/coverage_real.md

A pool of runs is trained once and kept as an archive: for each contender which test images each seed got
right. Seeds and images are then drawn from it with replacement, so that the mean over the whole pool is
exactly the truth that an interval from a draw should cover. The Multi-Bootstrap (Sellam et al. 2022,
https://arxiv.org/abs/2106.16163) resamples seeds and images of the same draw and takes percentiles.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
from table_file import write_table

import tiebreak as tb
from tiebreak.actions.judge import read_results
from tiebreak.evidence.compare.pair import compare_predictions
from tiebreak.evidence.compare.until_decided import take_looks
from tiebreak.results.looks import looks_up_to
from tiebreak.results.results import ContenderRuns, Examples, Results, Rule
from tiebreak.results.run import Run

CONTENDERS = {
    "digits": ["mlp", "cnn", "small=mlp(hidden_dim=32)", "linear"],
    "fashion-small": ["mlp", "cnn"],
}
SEEDS = (2, 3, 5, 10)
LOOKS = looks_up_to(20)
RESAMPLES = 500  # as the Multi-Bootstrap's authors do
POOLS = Path(__file__).parent / "pools"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=CONTENDERS, default="digits")
    parser.add_argument("--runs", type=int, default=150, help="seeds of each contender in the pool")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--images", type=int, nargs="+", default=[60, 180, 359])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    pool = load_pool(options.data, options.runs, options.epochs)
    rng = np.random.default_rng(0)
    lines = [*fixed_lines(pool, options, rng), "", *look_lines(pool, options, rng)]
    error = 100 * (0.95 * 0.05 / options.draws) ** 0.5
    facts = (
        f"Pool: {options.runs} seeds of {', '.join(pool)} on {options.data}, {options.epochs} epochs. "
        f"{options.draws:,} draws a cell: a rate of 95% has a standard error of {error:.1f} points."
    )
    write_table(options.out, "Coverage on networks that were really trained", facts, lines)


def load_pool(data: str, runs: int, epochs: int) -> dict[str, np.ndarray]:
    """Which images each seed got right, [seed, image], by contender; trained where it is not there yet."""
    path = POOLS / f"{data}-{runs}-{epochs}.npz"
    if not path.is_file():
        folder = path.with_suffix("")
        tb.compare(CONTENDERS[data], data, seeds=runs, epochs=epochs, out=folder)
        results = read_results(folder)
        right = {label: np.stack(list(results.correct(label).values())) for label in results.labels}
        packed = {label: np.packbits(rows, axis=1) for label, rows in right.items()}
        np.savez_compressed(path, images=len(results.examples.truth), **packed)
    with np.load(path, allow_pickle=False) as arrays:
        images = int(arrays["images"])
        return {
            label: np.unpackbits(arrays[label], axis=1, count=images).astype(bool)
            for label in arrays.files
            if label != "images"
        }


def fixed_lines(
    pool: dict[str, np.ndarray], options: argparse.Namespace, rng: np.random.Generator
) -> list[str]:
    """Coverage in % / median half-width in points, of ours and of the Multi-Bootstrap on the same draws."""
    lines = [
        "## Interval at 95%: coverage in % / median half-width in points; false: beats with the wrong "
        "sign, %",
        "",
        "| pair, images | " + " | ".join(f"n={n}" for n in SEEDS) + " |",
        "|---|" + "---|" * len(SEEDS),
    ]
    for a, b in combinations(pool, 2):
        truth = float(pool[a].mean() - pool[b].mean())
        for m in options.images:
            cells = []
            for n in SEEDS:
                ours, theirs, widths, false = [], [], [], 0
                for _ in range(options.draws):
                    one, other = draw(pool, (a, b), n, m, rng)
                    found = compare_predictions(one, other)
                    ours.append(found.ci_low <= truth <= found.ci_high)
                    widths.append((found.ci_high - found.ci_low) / 2)
                    false += found.p_value <= 0.05 and found.difference * truth < 0
                    low, high = multi_bootstrap(one, other, rng)
                    theirs.append(low <= truth <= high)
                cells.append(
                    f"{100 * np.mean(ours):.1f}/{100 * np.median(widths):.2g}, false "
                    f"{100 * false / options.draws:.1f}; "
                    f"MB {100 * np.mean(theirs):.1f}"
                )
            lines.append(f"| {a} - {b} ({100 * truth:+.2f}), {m} | " + " | ".join(cells) + " |")
    return lines


def look_lines(
    pool: dict[str, np.ndarray], options: argparse.Namespace, rng: np.random.Generator
) -> list[str]:
    """Seeds until decided: share decided, mean seeds, coverage at the stop."""
    shown = ", ".join(map(str, LOOKS))
    lines = [
        f"## Seeds until decided (looks at {shown}): share decided in % / mean seeds / coverage in % at "
        "the stop",
        "",
        "| pair | " + " | ".join(f"{m} images" for m in options.images) + " |",
        "|---|" + "---|" * len(options.images),
    ]
    for a, b in combinations(pool, 2):
        truth, cells = float(pool[a].mean() - pool[b].mean()), []
        for m in options.images:
            decided, seeds, covered = 0, [], []
            for _ in range(max(options.draws // 5, 1)):
                state, ranking = take_looks(
                    as_results(dict(zip((a, b), draw(pool, (a, b), LOOKS[-1], m, rng), strict=True)))
                )
                pair = ranking.pairs[0]
                sign = 1 if pair.a == a else -1
                covered.append(pair.comparison.ci_low <= sign * truth <= pair.comparison.ci_high)
                decided += pair.decided
                seeds.append(state.looks[state.looks_done - 1])
            cells.append(
                f"{100 * decided / len(seeds):.1f} / {np.mean(seeds):.1f} / {100 * np.mean(covered):.1f}"
            )
        lines.append(f"| {a} - {b} | " + " | ".join(cells) + " |")
    return lines


def draw(
    pool: dict[str, np.ndarray], pair: tuple[str, str], n: int, m: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The same seeds and images of both contenders, with replacement."""
    seeds, images = (
        rng.integers(0, size, count) for size, count in zip(pool[pair[0]].shape, (n, m), strict=True)
    )
    a, b = (pool[label][np.ix_(seeds, images)] for label in pair)
    return a, b


def multi_bootstrap(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The percentile interval over resampled seeds and images (paired seeds)."""
    difference = a.astype(np.float64) - b
    n, m = difference.shape
    of_seeds = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n
    of_images = rng.multinomial(m, np.full(m, 1 / m), RESAMPLES) / m
    means = np.einsum("rn,nm,rm->r", of_seeds, difference, of_images, optimize=True)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def as_results(correct: dict[str, np.ndarray]) -> Results:
    """Results of which only right and wrong are known."""
    n, m = next(iter(correct.values())).shape
    return Results(
        source="a draw",
        examples=Examples(name="pool", class_names=("wrong", "right"), truth=np.ones(m, dtype=np.int64)),
        rule=Rule(seeds=tuple(range(n)), looks=LOOKS),
        contenders=tuple(
            ContenderRuns(
                label=label,
                runs={seed: Run(seed=seed, answers=row.astype(np.int64)) for seed, row in enumerate(rows)},
                failed={},
            )
            for label, rows in correct.items()
        ),
    )


if __name__ == "__main__":
    main()
