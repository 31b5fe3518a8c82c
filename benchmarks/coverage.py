"""How often the intervals and rules of tiebreak.evidence are right, on crossed binary data of known truth.

    python benchmarks/coverage.py --reps 2000 --jobs 2 --out benchmarks/coverage.md

One image is right in one run if a normal variable passes a threshold: difficulty of the image (variance
0.60), the model's taste for the image (0.12), luck of the seed, shared (0.05) and own chance of seed x image.
The true difference is then known exactly. Everything measured goes through the functions that a study uses.
"""

import argparse
import platform
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np
import scipy
from scipy.special import ndtri

from tiebreak.evidence.compare.interval import leg, pseudo_examples, summarise
from tiebreak.evidence.compare.sequential import Reason, SequentialPlan, Snapshot, look
from tiebreak.evidence.compare.simultaneous import compare_all

ACCURACY = 0.95
DIFFICULTY, TASTE, SHARED_CHANCE = 0.60, 0.12, 0.05  # variances; all parts add up to 1
SEED_SD = {
    "low": 0.0082,
    "mid": 0.0495,
    "high": 0.205,
}  # of a model's own luck: 0.1, 0.5 and 2 points of accuracy
SHARED_LUCK = 1.0  # of a seed's luck that both models share, in units of their own
IMAGES = (360, 2_000, 10_000)
SEEDS = (2, 3, 5, 10)
LOOKS = (3, 5, 8, 12, 20, 30)
DIFFERENCES = (0.0, 0.005, 0.01, 0.02, 0.20)
COVERAGE_DIFFERENCES = (0.0, 0.005, 0.02, 0.20)
MARGIN = 0.01
CHUNK = 100  # repetitions drawn from one stream

# Median half-widths in points that the design of the method gives: by seeds (2, 3, 5, 10), then difference.
DOCUMENT = {
    ("low", 360): (
        (7.2, 7.3, 7.3, 12),
        (2.8, 2.9, 3, 4.6),
        (1.8, 1.9, 2, 3.3),
        (1.4, 1.5, 1.6, 2.9),
    ),
    ("low", 2_000): (
        (3.2, 3.2, 3.5, 5.2),
        (1.2, 1.2, 1.3, 2.1),
        (0.76, 0.79, 0.84, 1.5),
        (0.58, 0.6, 0.65, 1.2),
    ),
    ("low", 10_000): (
        (1.7, 1.8, 1.9, 3.1),
        (0.6, 0.63, 0.69, 1.2),
        (0.37, 0.38, 0.42, 0.77),
        (0.27, 0.28, 0.3, 0.6),
    ),
    ("mid", 360): (
        (8.9, 8.9, 11, 16),
        (3.2, 3.3, 3.5, 6.1),
        (2, 2, 2.2, 4),
        (1.5, 1.6, 1.7, 3.2),
    ),
    ("mid", 2_000): (
        (5.4, 5.7, 6.4, 13),
        (1.9, 1.9, 2.2, 4.7),
        (1.1, 1.1, 1.3, 2.7),
        (0.76, 0.78, 0.86, 1.8),
    ),
    ("mid", 10_000): (
        (4.6, 4.8, 5.5, 13),
        (1.6, 1.7, 1.9, 4.1),
        (0.89, 0.94, 1, 2.4),
        (0.56, 0.59, 0.67, 1.5),
    ),
    ("high", 360): (
        (19, 19, 23, 46),
        (6.5, 6.7, 7.7, 17),
        (3.8, 3.9, 4.4, 9.6),
        (2.5, 2.6, 2.9, 6.1),
    ),
    ("high", 2_000): (
        (17, 18, 21, 49),
        (6, 6.1, 7.1, 17),
        (3.4, 3.5, 4, 9.1),
        (2.1, 2.2, 2.5, 5.6),
    ),
    ("high", 10_000): (
        (17, 18, 19, 51),
        (5.8, 5.9, 6.7, 17),
        (3.2, 3.4, 3.7, 9.1),
        (2.1, 2.1, 2.4, 5.5),
    ),
}


@dataclass(frozen=True)
class Cell:
    """Summaries of all repetitions of one world, number of images, difference and number of seeds: [rep]."""

    mean: np.ndarray
    seed: np.ndarray
    test: np.ndarray


def draw_latent(rng: np.random.Generator, world: str, models: int, seeds: int, images: int) -> np.ndarray:
    """Standard normal latents [model, seed, image]; correct where the latent exceeds -ndtri(accuracy)."""
    luck = SEED_SD[world]
    own_chance = 1 - DIFFICULTY - TASTE - SHARED_CHANCE - luck**2 * (1 + SHARED_LUCK**2)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    latent = np.float32(own_chance**0.5) * normal(models, seeds, images)
    latent += np.float32(SHARED_CHANCE**0.5) * normal(seeds, images)
    latent += np.float32(DIFFICULTY**0.5) * normal(images)
    latent += np.float32(TASTE**0.5) * normal(models, 1, images)
    latent += np.float32(luck) * normal(models, seeds, 1)
    latent += np.float32(luck * SHARED_LUCK) * normal(seeds, 1)
    return latent


def threshold(accuracy: float) -> np.float32:
    """Where a standard normal lies above with this probability."""
    return np.float32(-ndtri(accuracy))


def pair_chunk(world: str, images: int, reps: int, chunk: int) -> np.ndarray:
    """Mean, A and B of `reps` repetitions: [difference, number of seeds, 3, rep]."""
    rng = np.random.default_rng([20_260, list(SEED_SD).index(world), images, chunk])
    counts = sorted({*SEEDS, *LOOKS})
    out = np.empty((len(DIFFERENCES), len(counts), 3, reps))
    for rep in range(reps):
        a, b = draw_latent(rng, world, 2, max(counts), images)
        right_a = a > threshold(ACCURACY)
        for i, d in enumerate(DIFFERENCES):
            contrast = right_a - (b > threshold(ACCURACY - d)).astype(np.float64)
            for j, n in enumerate(counts):
                parts = summarise(contrast[:n], pseudo_examples(-1.0, 1.0))
                out[i, j, :, rep] = parts.mean, parts.seed, parts.test
    return out


def family_chunk(world: str, reps: int, chunk: int) -> np.ndarray:
    """Five contenders, 2,000 images: [number of seeds, (any false, any false by Holm, best kept), rep]."""
    rng = np.random.default_rng([20_261, list(SEED_SD).index(world), chunk])
    names = ["a", "b", "c", "d", "e"]
    out = np.zeros((len(SEEDS), 3, reps), dtype=bool)
    for rep in range(reps):
        latent = draw_latent(rng, world, 5, max(SEEDS), 2_000)
        right = latent > threshold(ACCURACY)
        one_better = right.copy()
        one_better[0] = latent[0] > threshold(ACCURACY + 0.01)
        for j, n in enumerate(SEEDS):
            equal = compare_all({name: dict(enumerate(right[k, :n])) for k, name in enumerate(names)})
            out[j, 0, rep] = any(pair.comparison.p_value <= 0.05 for pair in equal.pairs)
            out[j, 1, rep] = any(pair.decided for pair in equal.pairs)
            ranking = compare_all({name: dict(enumerate(one_better[k, :n])) for k, name in enumerate(names)})
            # Two seeds rank nobody, so they throw nobody out.
            out[j, 2, rep] = any(p.may_be_best is not False and p.name == "a" for p in ranking.standings)
    return out


def sequential_chunk(
    summaries: np.ndarray, margin: float | None, images: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run the rule on [look, 3, rep]: why it stopped, the seeds used, and the ends of the interval."""
    plan = SequentialPlan(looks=LOOKS, equivalence=margin)
    reasons, seeds, intervals = [], [], []
    for rep in range(summaries.shape[-1]):
        history: list[Snapshot] = []
        for n, (mean, seed, test) in zip(LOOKS, summaries[:, :, rep], strict=True):
            history.append(
                Snapshot(
                    n_seeds=n, difference=mean, seed_variance=seed, test_variance=test, test_df=images - 1
                )
            )
            decision = look(plan, history)
            if decision.stop:
                break
        reasons.append(decision.reason)
        seeds.append(decision.n_seeds)
        intervals.append((decision.ci_low, decision.ci_high))
    return np.array(reasons), np.array(seeds), np.array(intervals)


def chunks(reps: int) -> list[tuple[int, int]]:
    """(size, number) of the chunks that make up `reps`."""
    return [(min(CHUNK, reps - start), start // CHUNK) for start in range(0, reps, CHUNK)]


def cells(summaries: dict[tuple[str, int], np.ndarray]) -> dict[tuple[str, int, float, int], Cell]:
    """One cell per world, images, difference and number of seeds."""
    counts = sorted({*SEEDS, *LOOKS})
    return {
        (world, images, d, n): Cell(*block[i, j])
        for (world, images), block in summaries.items()
        for i, d in enumerate(DIFFERENCES)
        for j, n in enumerate(counts)
    }


def reach(cell: Cell, n: int, images: int, alpha: float = 0.05) -> np.ndarray:
    """Half-widths [rep] of the recommended interval."""
    return np.hypot(leg(alpha, cell.seed, n - 1), leg(alpha, cell.test, images - 1))


def coverage_table(found: dict[tuple[str, int, float, int], Cell]) -> list[str]:
    """Coverage in % / median half-width in points, for the four differences."""
    lines = ["| world, images | n=2 | n=3 | n=5 | n=10 |", "|---|---|---|---|---|"]
    worst, ratios = 1.0, []
    for (world, images), rows in DOCUMENT.items():
        columns = []
        for n, expected in zip(SEEDS, rows, strict=True):
            shown = []
            for d, document in zip(COVERAGE_DIFFERENCES, expected, strict=True):
                cell = found[world, images, d, n]
                width = reach(cell, n, images)
                covered = float(np.mean(np.abs(cell.mean - d) <= width))
                worst = min(worst, covered)
                median = 100 * float(np.median(width))
                ratios.append((median / document, f"{world}, {images:,} images, {n} seeds, d={100 * d:g}"))
                shown.append(f"{100 * covered:.1f}/{median:.2g}")
            columns.append(" ".join(shown))
        lines.append(f"| {world} {images:,} | " + " | ".join(columns) + " |")
    low, high = min(ratios), max(ratios)
    return [
        *lines,
        "",
        f"Lowest coverage of all {len(ratios)} cells: {100 * worst:.2f}%. Median half-width over the one "
        f"in the design of the method (two digits): from {low[0]:.3f} ({low[1]}) to {high[0]:.3f} "
        f"({high[1]}); "
        f"{sum(abs(r - 1) <= 0.1 for r, _ in ratios)} of {len(ratios)} within a tenth. "
        "With 2 seeds and 360 images the difference between the seeds is a multiple of 1/360, so half-widths "
        "come in steps of 1.8 points and a median may jump by one.",
    ]


def sequential_table(summaries: dict[tuple[str, int], np.ndarray], pool: ProcessPoolExecutor) -> list[str]:
    """Type I error, power, mean seeds and coverage of the repeated interval, with looks at 3 to 30 seeds."""
    counts = sorted({*SEEDS, *LOOKS})
    looks = [counts.index(n) for n in LOOKS]
    tasks = list(product(summaries, range(len(DIFFERENCES))))
    plain = pool.map(
        sequential_chunk,
        [summaries[key][i][looks] for key, i in tasks],
        [None] * len(tasks),
        [images for (_, images), _ in tasks],
    )
    with_margin = pool.map(
        sequential_chunk,
        [summaries[key][0][looks] for key in summaries],
        [MARGIN] * len(summaries),
        [images for _, images in summaries],
    )
    alike = dict(zip(summaries, with_margin, strict=True))
    rows: dict[tuple[str, int], list[str]] = {key: [] for key in summaries}
    for (key, i), (reasons, seeds, intervals) in zip(tasks, plain, strict=True):
        d = DIFFERENCES[i]
        decided = np.isin(reasons, [Reason.A_BETTER, Reason.B_BETTER])
        covered = np.mean((intervals[:, 0] <= d) & (d <= intervals[:, 1]))
        rows[key].append(f"{decided.mean():.3f} / {seeds.mean():.0f} / {100 * covered:.1f}")
    lines = [
        "| world, images | d=0 (type I) | d=0.5 | d=1 | d=2 | d=20 | equivalent within 1 point at d=0 |",
        "|---|---|---|---|---|---|---|",
    ]
    for (world, images), row in rows.items():
        reasons, seeds, _ = alike[world, images]
        equal = f"{np.mean(reasons == Reason.EQUIVALENT):.2f} / {seeds.mean():.0f}"
        lines.append(f"| {world} {images:,} | " + " | ".join([*row, equal]) + " |")
    return lines


def tost_table(found: dict[tuple[str, int, float, int], Cell]) -> list[str]:
    """How often the 90% interval lies inside the margin: at d = margin (size) and at d = 0 (power)."""
    lines = ["| world, images | n=2 | n=3 | n=5 | n=10 |", "|---|---|---|---|---|"]
    for world, images in DOCUMENT:
        columns = []
        for n in SEEDS:
            rates = [
                np.mean(np.abs(cell.mean) + reach(cell, n, images, alpha=0.10) < MARGIN)
                for cell in (found[world, images, MARGIN, n], found[world, images, 0.0, n])
            ]
            columns.append(f"{rates[0]:.3f} / {rates[1]:.2f}")
        lines.append(f"| {world} {images:,} | " + " | ".join(columns) + " |")
    return lines


def family_table(by_world: dict[str, np.ndarray]) -> list[str]:
    """Any false decision among ten pairs of equal contenders, and whether the best is kept."""
    lines = ["| world | n=2 | n=3 | n=5 | n=10 |", "|---|---|---|---|---|"]
    for world, block in by_world.items():
        rates = block.mean(axis=-1)
        columns = [f"{plain:.3f} / {adjusted:.3f} / {kept:.3f}" for plain, adjusted, kept in rates]
        lines.append(f"| {world} | " + " | ".join(columns) + " |")
    return lines


def gather(
    reps: int, pool: ProcessPoolExecutor
) -> tuple[dict[tuple[str, int], np.ndarray], dict[str, np.ndarray]]:
    """Draw everything, a chunk a task."""
    pairs = {
        key: [pool.submit(pair_chunk, *key, size, number) for size, number in chunks(reps)]
        for key in DOCUMENT
    }
    families = {
        world: [pool.submit(family_chunk, world, size, number) for size, number in chunks(reps)]
        for world in SEED_SD
    }
    return (
        {key: np.concatenate([part.result() for part in parts], axis=-1) for key, parts in pairs.items()},
        {
            world: np.concatenate([part.result() for part in parts], axis=-1)
            for world, parts in families.items()
        },
    )


def processor() -> str:
    """The processor's name where Linux tells it, else its kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write_report(reps: int, jobs: int) -> str:
    """The whole page."""
    started = datetime.now(UTC)
    with ProcessPoolExecutor(jobs) as pool:
        summaries, families = gather(reps, pool)
        sequential = sequential_table(summaries, pool)
    found = cells(summaries)
    minutes = (datetime.now(UTC) - started).total_seconds() / 60
    error = 100 * (0.05 * 0.95 / reps) ** 0.5
    return "\n".join(
        [
            "# Coverage of the intervals and error rates of the rules",
            "",
            f"Command: `python benchmarks/coverage.py --reps {reps} --jobs {jobs} "
            "--out benchmarks/coverage.md`",
            "",
            f"{started:%Y-%m-%d}, {minutes:.0f} minutes with {jobs} process{'es' if jobs > 1 else ''} on "
            f"{processor()}; Python {platform.python_version()}, numpy {np.__version__}, "
            f"scipy {scipy.__version__}. {reps:,} repetitions: a rate of 95% has a standard error of "
            f"{error:.1f} points. n: seeds; d: true difference in points; accuracy 95% against 95% - d. "
            "Worlds: a model's own seed-to-seed SD is about 0.1 (low), 0.5 (mid), 2 (high) points.",
            "",
            "## Interval at 95%: coverage in % / median half-width in points, at d = 0, 0.5, 2, 20",
            "",
            *coverage_table(found),
            "",
            "## Seeds until decided (looks at 3, 5, 8, 12, 20, 30)",
            "",
            "Share decided / mean seeds / coverage in % of the interval at the stop.",
            "",
            *sequential,
            "",
            "## Equivalence within 1 point (two one-sided tests at 5%): size at d = 1 / power at d = 0",
            "",
            *tost_table(found),
            "",
            "## Five contenders, 2,000 images",
            "",
            "All equal: any false decision unadjusted / by Holm. One better by 1 point: kept as maybe best.",
            "",
            *family_table(families),
            "",
        ]
    )


def main() -> None:
    """Parse the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reps", type=int, default=2_000, help="repetitions of each cell")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, help="a file for the page; default: print it")
    arguments = parser.parse_args()
    page = write_report(arguments.reps, arguments.jobs)
    if arguments.out:
        arguments.out.write_text(page, encoding="utf-8")
    else:
        print(page)


if __name__ == "__main__":
    main()
