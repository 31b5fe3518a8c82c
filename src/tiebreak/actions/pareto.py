"""`tiebreak pareto`: the contenders of one or several studies, accuracy against what their training costs."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from tiebreak.actions.judge import training_flops
from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.pareto import Candidate, CostOf, Place, candidate, places
from tiebreak.report.text.tables import Table, short
from tiebreak.study.results import study_results
from tiebreak.study.store import read_study

WORDS = {Place.FRONT: "on the front", Place.NEAR: "near it", Place.BEHIND: ""}


def pareto(
    studies: Sequence[Path | str], cost: CostOf | str = CostOf.SECONDS, out: Path | str | None = None
) -> tuple[Candidate, ...]:
    """All contenders of the studies that have runs, the cheapest first. `out`: a folder for the figure.

    Raises: StudyError if a folder is no study; EvidenceError if their test images differ, or `cost` is
    neither "seconds" nor "flops".
    """
    if cost not in list(CostOf):
        raise EvidenceError(f"the cost is seconds or flops, got {cost!r}.")
    found: list[Candidate] = []
    tests: dict[str, Path] = {}
    for folder in map(Path, studies):
        stored = read_study(folder)
        results = study_results(stored)
        tests.setdefault(stored.header.data.fingerprint, folder)
        if len(tests) > 1:
            first, other = tests.values()
            raise EvidenceError(
                f"{first} and {other} are about different data; their accuracies do not compare."
            )
        for contender in results.contenders:
            flops = None
            if cost == CostOf.FLOPS:
                costs = [run.cost for run in contender.runs.values() if run.cost is not None]
                if not costs:
                    continue
                epochs = fmean(len(run.history["val_acc"]) for run in contender.runs.values() if run.history)
                flops = training_flops(stored, stored.study.contender(contender.label), costs[0], epochs)
            one = candidate(results, contender, folder.name, flops)
            found += [one] if one is not None else []
    if not found:
        raise EvidenceError("no contender has a finished run that tells its cost.")
    found.sort(key=lambda one: one.cost.mean)
    if out is not None:
        from tiebreak.report.figures.pareto import save_pareto

        save_pareto(found, CostOf(cost), Path(out))
    return tuple(found)


def pareto_table(candidates: Sequence[Candidate], cost: CostOf) -> Table:
    """The cheapest first, with both intervals."""
    tell = short if cost is CostOf.FLOPS else lambda value: f"{value:,.1f}"
    several = len({one.study for one in candidates}) > 1
    rows = []
    for one, place in zip(candidates, places(candidates), strict=True):
        spent, accuracy = one.cost, one.accuracy
        between = f" ({tell(spent.low)} to {tell(spent.high)})" if spent.high > spent.low else ""
        rows.append(
            (
                one.label,
                *((one.study,) if several else ()),
                str(one.seeds),
                f"{tell(spent.mean)}{between}",
                f"{100 * accuracy.mean:.2f} ({100 * accuracy.low:.2f} to {100 * accuracy.high:.2f})",
                WORDS[place],
            )
        )
    columns = (
        "contender",
        *(("study",) if several else ()),
        "seeds",
        f"{cost} a run",
        "test acc, %",
        "place",
    )
    return Table(
        columns=columns,
        rows=tuple(rows),
        text_columns=("study", "place"),
        left_out_first=("seeds", "study") if several else ("seeds",),
    )
