"""Changing a study folder as a forger would, who seals it again: what lies behind the seals is tested."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiebreak.sealed import SEAL, canonical, digest


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a sealed JSON file and seal it again; one of a version without seals stays without."""
    content = json.loads(path.read_text())
    sealed = content.pop(SEAL, None) is not None
    change(content)
    seal = {SEAL: digest(canonical(content))} if sealed else {}
    path.write_text(json.dumps(content | seal))


def edit_bytes(path: Path, content: bytes) -> None:
    """Replace a file of a run, and the digest of it in the run's record."""
    path.write_bytes(content)
    record = path.with_name("run.json")
    if record.is_file() and path != record:
        edit_json(record, lambda run: run["files"].update({path.name: digest(content)}))
