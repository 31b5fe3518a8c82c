"""Whether the runs of a study were computed alike, and what every report of it must mention if not."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict

from tiebreak.study.record import RunRecord
from tiebreak.study.store import StoredStudy

Runs = Mapping[str, Mapping[int, RunRecord]]  # by contender and seed


def notes_on_runs(stored: StoredStudy) -> list[str]:
    """What must be known of how a study's finished runs were computed and kept; nothing if all is well."""
    runs = {contender.label: stored.finished(contender.label) for contender in stored.study.contenders}
    notes = [*_different_machines(runs), *_different_ways(runs)]
    for label, by_seed in runs.items():
        for seed, run in by_seed.items():
            if run.resumed_inexactly:
                notes.append(
                    f"{label}, seed {seed} was interrupted and resumed under other conditions "
                    f"({run.resumed_inexactly}): an uninterrupted run may differ in the last digits."
                )
    if not stored.is_sealed:
        notes.append(
            "not sealed: an earlier tiebreak stored this study without checksums, so a change of its files "
            "since then may go unnoticed."
        )
    return notes


def _different_machines(runs: Runs) -> list[str]:
    """A difference between contenders may be one of what computed them."""
    counts: dict[str, dict[object, int]] = defaultdict(lambda: defaultdict(int))
    for run in (run for by_seed in runs.values() for run in by_seed.values()):
        for name, value in _machine(run).items():
            counts[name][value] += 1
    mixed = [
        f"{name} {' and '.join(f'{value} ({_runs(count)})' for value, count in values.items())}"
        for name, values in counts.items()
        if len(values) > 1
    ]
    return [f"not all runs were computed alike: {'; '.join(mixed)}."] if mixed else []


def _runs(count: int) -> str:
    return f"{count} run{'s' if count > 1 else ''}"


def _machine(run: RunRecord) -> dict[str, object]:
    """What all runs of a study should have in common, as far as a run's record tells it."""
    if run.machine is not None:
        return run.machine.model_dump(exclude={"winograd"})  # which depends on the model, too
    known: dict[str, object] = {"device": run.device, "threads": run.threads}
    return known if run.placement is None else known | {"precision": run.placement.precision}


def _different_ways(runs: Runs) -> list[str]:
    """Runs of one contender are replicates of each other only if they were computed in the same way."""
    mixed = []
    for label, by_seed in runs.items():
        ways = [asdict(run.placement) for run in by_seed.values() if run.placement is not None]
        names = [name for name in (ways[0] if ways else {}) if len({way[name] for way in ways}) > 1]
        ours = [name for name in names if name not in ("device", "precision")]
        if ours:
            mixed.append(f"{label} ({', '.join(ours)} in run.json)")
    if not mixed:
        return []
    return [
        f"some runs of {', '.join(mixed)} were computed otherwise than others, as by another version or "
        "without a C++ compiler."
    ]
