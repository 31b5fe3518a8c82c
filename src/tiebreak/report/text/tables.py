"""The numbers of a study as tables of text, which terminal, notebook and page draw from."""

from collections.abc import Sequence
from dataclasses import dataclass

from tiebreak.evidence.compare.judgement import Judgement
from tiebreak.evidence.compare.simultaneous import Ranking
from tiebreak.evidence.describe.quality import ContenderSummary, Spread
from tiebreak.evidence.plan.budget import Budget
from tiebreak.results.anatomy import Anatomy
from tiebreak.results.results import Measure

SUFFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, kw_only=True)
class Table:
    """Column names and rows of text; the first column names the contender."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: tuple[str, ...] = ()  # beside the first; all others are numbers
    left_out_first: tuple[str, ...] = ()  # where there is no room for all columns: what goes, in that order


def summary_table(summaries: Sequence[ContenderSummary]) -> Table:
    """The final table: quality as mean ± standard deviation over seeds, and cost."""
    rows = [_cells(summary) for summary in summaries]
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    first = ("images/s", "gap", "test loss", "FLOPs/image", "val acc", "train s", "params")
    return Table(
        columns=tuple(columns),
        rows=tuple(tuple(row[name] for name in columns) for row in rows),
        left_out_first=tuple(name for name in first if name in columns),
    )


def _cells(summary: ContenderSummary) -> dict[str, str]:
    """A row of the final table by its columns' names; empty where nothing is known."""
    cost, speed = summary.cost, summary.images_per_second
    scored = summary.measure is Measure.SCORES
    return {
        "contender": summary.label,
        "val acc": percent(summary.val_acc),
        "test acc": "" if scored else percent(summary.test_acc),
        "score": plus_minus(summary.test_acc, 4) if scored else "",
        "test loss": plus_minus(summary.test_loss, 3),
        "gap": percent(summary.gap),
        "params": f"{cost.params:,}" if cost else "",
        "FLOPs/image": short(cost.flops) if cost else "",
        "train s": plus_minus(summary.train_seconds, 1),
        "images/s": f"{speed.mean:,.0f}" if speed else "",
    }


def layer_table(anatomy: Anatomy) -> Table:
    """The forward pass of one training step, a row a layer."""
    rows = tuple(
        (
            layer.name,
            layer.kind,
            by(layer.shape),
            f"{layer.mean:.3f}",
            f"{layer.std:.3f}",
            f"{layer.zeros:.1%}",
        )
        for layer in anatomy.layers
    )
    return Table(
        columns=("layer", "kind", "output", "mean", "std", "zeros"),
        rows=rows,
        text_columns=("kind",),
        left_out_first=("kind", "std", "mean"),
    )


def gradient_table(anatomy: Anatomy) -> Table:
    """The backward pass of one training step, a row a parameter."""
    rows = tuple(
        (
            step.name,
            by(step.shape),
            f"{step.grad_mean_abs:.2e}",
            f"{step.grad_norm:.2e}",
            f"{step.grad_to_weight:.2e}",
        )
        for step in anatomy.parameters
    )
    columns = ("parameter", "shape", "mean |grad|", "norm", "norm / weight")
    return Table(columns=columns, rows=rows, left_out_first=("mean |grad|", "shape"))


def update_table(anatomy: Anatomy) -> Table:
    """The update of one training step, a row a parameter."""
    rows = tuple((step.name, f"{step.step_to_weight:.2e}") for step in anatomy.parameters)
    return Table(columns=("parameter", "step / weight"), rows=rows)


def by(shape: tuple[int, ...]) -> str:
    """A shape as a person writes it: 128 x 32 x 28 x 28."""
    return " x ".join(map(str, shape))


def ranking_table(ranking: Ranking) -> Table:
    """All contenders, best first; those that share a letter could not be told apart."""
    columns = ["contender", "test acc", *(["letters"] if ranking.baseline is None else []), "may be best"]
    rows = []
    for standing in ranking.standings:
        letters = [standing.letters] if ranking.baseline is None else []
        best = {True: "yes", False: "no", None: "cannot tell"}[standing.may_be_best]
        rows.append((standing.name, f"{100 * standing.accuracy:.1f}", *letters, best))
    return Table(columns=tuple(columns), rows=tuple(rows), text_columns=("letters", "may be best"))


def baseline_table(judgements: Sequence[Judgement], baseline: str) -> Table:
    """All contenders against the baseline, which is each pair's second; intervals for each pair alone."""
    told = {"a better": "better", "b better": "worse"}
    rows = []
    for judgement in judgements:
        verdict = judgement.verdict
        low, middle, high = (
            100 * end
            for end in (verdict.comparison.ci_low, verdict.comparison.difference, verdict.comparison.ci_high)
        )
        rows.append(
            (
                judgement.a,
                f"{middle:+z.1f}",
                f"{low:+z.1f} to {high:+z.1f}",
                f"{verdict.p_value:.2g}",
                told.get(verdict.outcome.value, verdict.outcome.value),
            )
        )
    level = f"{100 * judgements[0].verdict.comparison.level:g}% CI"
    columns = ("contender", f"minus {baseline}", level, "adjusted p", "verdict")
    return Table(columns=columns, rows=tuple(rows), text_columns=("verdict",), left_out_first=("adjusted p",))


def power_table(budget: Budget) -> Table:
    """The power curve of a plan, with what each number of seeds takes."""
    each = budget.basis.seconds_per_seed
    rows = []
    for seeds, power in zip(budget.seeds, budget.power, strict=True):
        time = () if each is None else (duration(seeds * each),)
        rows.append((str(seeds), f"{power:.0%}", *time))
    return Table(columns=("seeds", "power", *(() if each is None else ("training time",))), rows=tuple(rows))


def duration(seconds: float) -> str:
    """A time as a person says it: "45 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def percent(spread: Spread | None) -> str:
    """A fraction over seeds in percent: "70.1 ± 0.6"; without ± for a single seed; nothing of nothing."""
    if spread is None:
        return ""
    scaled = Spread(
        mean=100 * spread.mean,
        sd=None if spread.sd is None else 100 * spread.sd,
        values=tuple(100 * value for value in spread.values),
    )
    return plus_minus(scaled, 1)


def plus_minus(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return ""
    mean = f"{spread.mean:z.{digits}f}"  # z: no -0.0
    return mean if spread.sd is None else f"{mean} ± {spread.sd:.{digits}f}"


def short(number: float) -> str:
    """A large number in three digits: 3156992 -> "3.16 M"."""
    number = float(f"{number:.3g}")  # first, as 999.9 is a thousand
    for size, suffix in SUFFIXES:
        if number >= size:
            return f"{number / size:.3g} {suffix}"
    return f"{number:.3g}"
