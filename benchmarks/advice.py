"""Whether advice comes true: the chance told that N seeds in all decide, against how often they did.

    python benchmarks/advice.py --draws 4000 --out benchmarks/advice.md

A draw is a study of n seeds. If it leaves a pair undecided, the chance that N seeds in all on the same test
images decide it is asked for, and then those seeds are added. Real: seeds and images drawn from the pools of
coverage_real.py, at numbers of images where the difference is near what they can show. Simulated: pairs of
about 90%, 0 to 3 points apart, whose accuracies vary by 0.2 to 1.4 points from seed to seed. Wild: by 0.3
to 5 points.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
from coverage_real import draw, load_pool
from table_file import write_table

from tiebreak.evidence.compare.pair import compare_predictions
from tiebreak.evidence.compare.predict import chance_of_deciding

SAID = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # the bins of what was told
PLANS = ((3, 12), (5, 12), (5, 30))  # seeds there are, and in all
REAL_IMAGES = {"digits": (60, 180), "fashion-small": (200, 500, 1_000)}

Rows = tuple[np.ndarray, np.ndarray]


def from_pools(rng: np.random.Generator, draws: int, in_all: int) -> Iterator[Rows]:
    """Draws from all pairs of both pools."""
    for data, sizes in REAL_IMAGES.items():
        pool = load_pool(data, 200, 5)
        pairs = list(combinations(pool, 2))
        for pair in pairs:
            for images in sizes:
                for _ in range(draws // (len(pairs) * len(sizes))):
                    yield draw(pool, pair, in_all, images, rng)


def simulated(rng: np.random.Generator, draws: int, in_all: int, most_luck: float = 0.08) -> Iterator[Rows]:
    """An image's difficulty, each contender's own view of it, the seed's luck, and a draw."""
    for _ in range(draws):
        images, lead = int(rng.integers(500, 5_000)), rng.uniform(0, 0.03)
        luck = rng.uniform(most_luck / 8, most_luck)
        hard = rng.normal(-1.9, 1, images)
        sides = []
        for shift in (0.0, 6 * lead):
            own = hard + rng.normal(0, 0.5, images) - shift
            seeds = rng.normal(0, luck, (in_all, 1))
            sides.append(own + seeds + rng.normal(0, 0.5, (in_all, images)) < 0)
        yield sides[1], sides[0]


def said_and_happened(pairs: Iterator[Rows], now: int, in_all: int) -> list[tuple[float, bool]]:
    """Of each draw that is undecided now: the chance told, and whether all seeds decide it."""
    found = []
    for a, b in pairs:
        first = compare_predictions(a[:now], b[:now])
        if first.ci_low <= 0 <= first.ci_high:
            chance = float(chance_of_deciding(first, np.array([in_all]))[0])
            later = compare_predictions(a, b)
            found.append((chance, not later.ci_low <= 0 <= later.ci_high))
    return found


def table(name: str, found: list[tuple[float, bool]]) -> list[str]:
    said, happened = np.array([chance for chance, _ in found]), np.array([came for _, came in found])
    lines = []
    for low, high in pairwise(SAID):
        here = (said >= low) & ((said < high) | (high == 1.0))
        if here.any():
            shares = (100 * float(each[here].mean()) for each in (said, happened))
            lines.append(f"| {name} | {here.sum():,} | {' | '.join(f'{share:.0f}' for share in shares)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=4_000)
    parser.add_argument("--out", type=Path, default=Path("advice.md"))
    options = parser.parse_args()
    lines = [
        "| runs, seeds, in all | undecided studies | said, % | happened, % |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, source in (
        ("real", from_pools),
        ("simulated", simulated),
        ("wild", partial(simulated, most_luck=0.3)),
    ):
        whole = []
        for now, in_all in PLANS:
            rng = np.random.default_rng(0)
            found = said_and_happened(source(rng, options.draws, in_all), now, in_all)
            lines += table(f"{name}, {now}, {in_all}", found)
            whole += found
        lines += table(f"{name}, all", whole)
    write_table(
        options.out,
        "What was said of more seeds, and what happened",
        f"{options.draws:,} draws a plan.",
        lines,
    )


if __name__ == "__main__":
    main()
