"""What tuning does to verdicts: false ones, right ones and coverage, simulated and by real training.

    python benchmarks/tuning.py --studies 1000 --trained 50 --out benchmarks/tuning.md

Simulated: a contender's skill is a peak over one setting, plus the luck of the seed; an image is answered
rightly if skill beats its difficulty and a draw. Each seed tries T points, keeps the best on its 300
validation images and is tested on 1,000. In the world "own rate" B's peak lies elsewhere and is higher, so
that it is the better there; in "equal" both contenders are the same procedure with luck of their own.
Trained: the same questions put to real models on scikit-learn's digits.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from table_file import write_table

from tiebreak.actions.judge import judge as judge_folder
from tiebreak.data.catalog import load_dataset
from tiebreak.evidence.compare.comparison import Comparison
from tiebreak.evidence.compare.pair import compare_predictions, compare_scores
from tiebreak.evidence.compare.verdict import Outcome, judge
from tiebreak.study.driver import run_study
from tiebreak.study.plan import Execution, Study, parse_contender
from tiebreak.study.tuning import run_searches
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.recipe.space import Tuning

VAL, TEST, SEEDS, TRIALS = 300, 1_000, 5, 8
SEED_SD, STEEPNESS = 0.04, 6.0


@dataclass(frozen=True)
class Peak:
    """Skill over a setting in 0..1."""

    at: float
    height: float

    def skill(self, setting: np.ndarray) -> np.ndarray:
        return self.height - STEEPNESS * (setting - self.at) ** 2


WORLDS = {"own rate": (Peak(0.3, 1.2), Peak(0.75, 1.5)), "equal": (Peak(0.5, 1.2), Peak(0.5, 1.2))}
UNTUNED = 0.3  # the setting that suits A


def answers(rng: np.random.Generator, skill: np.ndarray, hard: np.ndarray) -> np.ndarray:
    """Right or wrong for each skill on each image: [..., image]."""
    return skill[..., None] + rng.normal(0, 0.7, (*skill.shape, len(hard))) > hard


def tuned_rows(
    rng: np.random.Generator, peak: Peak, points: np.ndarray, hard: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The setting that each seed's search takes, and its answers to the test images."""
    skill = peak.skill(points) + rng.normal(0, SEED_SD, (len(points), 1))
    val = answers(rng, skill, rng.normal(0, 1, VAL)).mean(axis=2)
    best = val.argmax(axis=1)
    rows = np.arange(len(points))
    return points[rows, best], answers(rng, skill[rows, best], hard)


def simulate(world: str, how: str, rng: np.random.Generator) -> Comparison:
    a, b = WORLDS[world]
    hard = rng.normal(0, 1, TEST)
    if how == "untuned":
        luck = rng.normal(0, SEED_SD, (2, SEEDS))
        rows = [
            answers(rng, peak.skill(np.full(SEEDS, UNTUNED)) + luck[i], hard) for i, peak in enumerate((a, b))
        ]
        return compare_predictions(*rows)
    if how == "in each seed":
        points = rng.random((SEEDS, TRIALS))
        return compare_predictions(*(tuned_rows(rng, peak, points, hard)[1] for peak in (a, b)))
    searches, each = (1, 2 * SEEDS) if how == "once" else (SEEDS, 2)
    points, found = rng.random((searches, TRIALS)), []
    for peak in (a, b):
        chosen = np.repeat(tuned_rows(rng, peak, points, hard)[0], each)
        skill = peak.skill(chosen) + rng.normal(0, SEED_SD, len(chosen))
        found.append(answers(rng, skill, hard))
    if how == "once":
        return compare_predictions(*found)
    leads = (found[0].astype(float) - found[1]).reshape(searches, each, TEST).mean(axis=1)
    return compare_scores(leads, bound=1.0)


def true_difference(world: str, how: str) -> float:
    """Of the two procedures, over seeds and images without end."""
    rng = np.random.default_rng(2**31)
    if how == "once":
        how = "in each seed"
    return float(np.mean([simulate(world, how, rng).difference for _ in range(3_000)]))


def simulated_rows(studies: int) -> list[str]:
    rows = []
    for world in WORLDS:
        for how in ("untuned", "once", "in each seed", "in blocks"):
            truth = true_difference(world, how)
            rng, found = np.random.default_rng(0), []
            for _ in range(studies):
                comparison = simulate(world, how, rng)
                found.append((judge(comparison).outcome, comparison.ci_low <= truth <= comparison.ci_high))
            shares = [
                np.mean([outcome is each for outcome, _ in found])
                for each in (Outcome.A_BETTER, Outcome.B_BETTER)
            ]
            covered = np.mean([inside for _, inside in found])
            rows.append(
                f"| {world} | {how} | {100 * truth:+.1f} | {100 * shares[0]:.1f} | {100 * shares[1]:.1f} "
                f"| {100 * covered:.1f} |"
            )
    return rows


# At this rate of Adam the hidden layer of the MLP is lost, and the linear model is at its best.
TRAINED = {
    "own rate": (("linear", "mlp(hidden_dim=64)"), 0.3),
    "equal": (("mlp(hidden_dim=64)", "mlp(hidden_dim=65)"), 0.003),
}


def trained_rows(studies: int) -> list[str]:
    data, execution, rows = load_dataset("digits"), Execution(device="cpu", executor="serial", threads=1), []
    for (a, b), lr in TRAINED.values():
        contenders = tuple(parse_contender(model, Recipe(epochs=4, lr=lr)) for model in (a, b))
        for how in ("untuned", "in each seed"):
            beats = {a: 0, b: 0}
            for number in range(studies):
                seeds = tuple(range(SEEDS * number, SEEDS * (number + 1)))
                tune = Tuning(search="lr=1e-4..1", trials=TRIALS) if how != "untuned" else None
                study = Study(contenders=contenders, seeds=seeds, tune=tune, data={"name": "digits"})
                with tempfile.TemporaryDirectory() as root:
                    folder = Path(root) / "study"
                    if tune is None:
                        list(run_study(study, data, folder, execution))
                    else:
                        for step in run_searches(study, data, folder, execution):
                            list(step.events)
                    (judgement,) = judge_folder(folder).judgements
                if judgement.verdict.outcome is Outcome.A_BETTER:
                    beats[judgement.a] += 1
            rows.append(
                f"| {a} against {b} | {how} | {beats[a]} | {beats[b]} | {studies - sum(beats.values())} |"
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=int, default=1_000, help="simulated, of each row")
    parser.add_argument("--trained", type=int, default=50, help="by real training, of each row")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/tuning.md"))
    given = parser.parse_args()
    facts = (
        f"Simulated: {given.studies:,} studies a row; {SEEDS} seeds (in blocks: {SEEDS} searches of 2 seeds; "
        f"once: {2 * SEEDS} seeds), {TRIALS} trials, {VAL} validation and {TEST:,} test images; Monte Carlo "
        f"error of a share at most {50 / given.studies**0.5:.1f} points. "
        "The difference is that of the two procedures."
    )
    lines = [
        "| world | tuned | a - b, points | a beats b, % | b beats a, % | interval covers, % |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *simulated_rows(given.studies),
        "",
        "## By real training",
        "",
        f"{given.trained} studies a row on digits: {SEEDS} seeds, 4 epochs, Adam; searched: lr from 0.0001 "
        f"to 1, {TRIALS} trials. "
        "Untuned: lr 0.3 (first pair) and 0.003.",
        "",
        "| contenders | tuned | the first beats | the second beats | undecided |",
        "| --- | --- | ---: | ---: | ---: |",
        *trained_rows(given.trained),
    ]
    write_table(given.out, "What tuning does to verdicts", facts, lines)


if __name__ == "__main__":
    main()
