"""How often the interval of `--vary data` covers, where training images are luck as well as seeds.

    python benchmarks/vary.py --studies 2000 --out benchmarks/vary.md

A study has n seeds on one pool of training images and n on pools drawn anew. The pool's luck has the variance
`ratio` times that of a seed's luck. What is to be covered is the mean over seeds, pools and test images.
"""

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from table_file import write_table

from tiebreak.evidence.compare.comparison import Comparison, with_data_part
from tiebreak.evidence.compare.interval import data_variance
from tiebreak.evidence.compare.pair import compare_scores

IMAGES = 400
SEED_SD = 0.01
IMAGE_SD = 0.05  # of an image's own difference: the test part's standard error is a quarter of SEED_SD
NOISE_SD = 0.1  # of one seed on one image
SEEDS = (2, 3, 5, 10, 30)
RATIOS = (0.0, 0.25, 1.0, 4.0)
HOW = ("not counted", "the plain difference", "as tiebreak does")


def intervals(rng: np.random.Generator, n: int, ratio: float) -> list[Comparison]:
    """Of one study, whose true difference is 0, in the three ways of HOW."""
    pool_sd = SEED_SD * ratio**0.5
    images = rng.normal(0, IMAGE_SD, IMAGES)

    def scores(pools: np.ndarray) -> np.ndarray:
        seeds = pools + rng.normal(0, SEED_SD, n)
        return seeds[:, None] + images + rng.normal(0, NOISE_SD, (n, IMAGES))

    fixed = compare_scores(scores(np.full(n, rng.normal(0, pool_sd))), bound=None)
    redrawn = scores(rng.normal(0, pool_sd, n)).mean(axis=1)
    plain = max(float(np.var(redrawn, ddof=1) - np.var(fixed.seed_differences, ddof=1)), 0.0)
    variances = (plain, data_variance(fixed.seed_differences, tuple(redrawn)))
    return [fixed, *(with_data_part(replace(fixed), variance, df=n - 1) for variance in variances)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2_000)
    parser.add_argument("--out", type=Path, default=Path("vary.md"))
    arguments = parser.parse_args()
    lines = [f"| seeds | ratio | {' | '.join(HOW)} |", "| ---: | ---: |" + " ---: |" * len(HOW)]
    for n, ratio in product(SEEDS, RATIOS):
        rng, covered = np.random.default_rng(0), np.zeros(len(HOW))
        for _ in range(arguments.studies):
            covered += [found.ci_low <= 0 <= found.ci_high for found in intervals(rng, n, ratio)]
        shares = " | ".join(f"{100 * share:.1f}" for share in covered / arguments.studies)
        lines.append(f"| {n} | {ratio:g} | {shares} |")
    error = 100 * (0.95 * 0.05 / arguments.studies) ** 0.5
    facts = (
        f"Share of intervals of 95% that cover, in %, in {arguments.studies:,} simulated studies a row; "
        f"Monte Carlo error {error:.1f} points where it is 95%."
    )
    write_table(arguments.out, "What the choice of training images does to an interval", facts, lines)


if __name__ == "__main__":
    main()
