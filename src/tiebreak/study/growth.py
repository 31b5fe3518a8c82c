"""How the plan that is asked for may differ from a study that is there, and what must be told of it."""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

from tiebreak.study.plan import Study
from tiebreak.study.record import RunRecord, SeedsAdded


def only_grows(before: Study, now: Study) -> bool:
    """Whether two plans differ in nothing but further seeds at the end (of a fixed number) or more trials."""
    more_seeds = now.seeds[: len(before.seeds)] == before.seeds and len(now.seeds) > len(before.seeds)
    blocks = before.tune is not None and before.tune.searches is not None
    if more_seeds and (before.looks is not None or now.looks is not None or blocks or now.vary == "disjoint"):
        return (
            False  # looks are declared beforehand, other blocks are other searches, other parts other images
        )
    more_trials = before.tune is not None and now.tune is not None and now.tune.trials > before.tune.trials
    changes: dict[str, object] = {"seeds": before.seeds} if more_seeds else {}
    if more_trials and now.tune and before.tune:
        changes["tune"] = now.tune.model_copy(update={"trials": before.tune.trials})
    return bool(changes) and now.model_copy(update=changes).identity == before.identity


def first_difference(before: object, now: object, path: str = "") -> str:
    """The first place where two JSON values differ, in words; data_dir does not count."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            if before.get(key) != now.get(key) and key != "data_dir":
                return first_difference(before.get(key), now.get(key), f"{path}.{key}".lstrip("."))
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            if one != other:
                return first_difference(one, other, f"{path}[{index}]")
    return f"{path} was {json.dumps(before)}, now {json.dumps(now)}"


def seeds_seen(runs: Mapping[str, Mapping[int, RunRecord]]) -> int:
    """The number of seeds that at least two contenders have finished, so that they could be compared."""
    finished = [
        seed for by_seed in runs.values() for seed, run in by_seed.items() if run.status == "finished"
    ]
    return sum(count > 1 for count in Counter(finished).values())


def tell_added(seen: int, study: Study, before: tuple[SeedsAdded, ...]) -> tuple[SeedsAdded, ...]:
    """What is to be told of a study whose first `seen` seeds could be looked at before it was planned."""
    if study.looks is not None or not 0 < seen < len(study.seeds):
        return before
    return (*before, SeedsAdded(before=seen, now=len(study.seeds), when=utc_now()))


def utc_now() -> str:
    """The time in UTC as ISO 8601 writes it, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
