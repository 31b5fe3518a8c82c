"""What the fault tests ask of a study folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEEDS = 2
RUNS = 2 * SEEDS

Server = Callable[..., dict[str, Any]]
Uninterrupted = tuple[dict[str, object], dict[str, int]]  # outcome, and how many events it took


def outcome_of(folder: Path) -> dict[str, object]:
    """All of a study's results that must repeat, by run: predictions, weights, curves."""
    outcome: dict[str, object] = {}
    for path in sorted(folder.glob("runs/*/*/run.json")):
        record = json.loads(path.read_text())
        for key in ("timing", "stored", "seal"):  # which tell of the time
            del record[key]
        for trial in (record.get("tuned") or {"trials": []})["trials"]:
            del trial["seconds"]
        files = {
            name: (path.parent / name).read_bytes() for name in ("predictions.npz", "weights.safetensors")
        }
        outcome[str(path.parent.relative_to(folder))] = (record, files)
    return outcome


def leftovers(folder: Path) -> list[str]:
    """Files that a finished study must not hold."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.name.endswith(".tmp") or path.name in ("checkpoint.safetensors", ".lock-holder.txt")
    ]
