"""A folder of results that were made elsewhere: judged.json says what they are, results.npz holds the
numbers.

Shape letters: M test images, K classes.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from tiebreak.errors import EvidenceError
from tiebreak.files import atomic_write
from tiebreak.results.arrays import read_arrays
from tiebreak.results.results import ContenderRuns, Examples, Measure, Results, Rule
from tiebreak.results.run import Run

JUDGED_FILE, ARRAYS_FILE = "judged.json", "results.npz"
SCHEMA_VERSION = 1
LARGEST_JSON = 64 * 2**20  # bytes
PARTS = ("answers", "probs", "scores", "folds")  # arrays of a run


class KeptExamples(BaseModel):
    """What judged.json says of test images."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


class KeptContender(BaseModel):
    """What judged.json says of a contender."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    label: str
    seeds: tuple[int, ...]
    own: KeptExamples | None = None  # its test images, where each contender was tested on others


class Kept(BaseModel):
    """The content of judged.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: int = SCHEMA_VERSION
    source: str
    told: str  # what was taken for what when the files were read
    examples: KeptExamples
    rule: Rule
    contenders: tuple[KeptContender, ...]
    measure: Measure
    notes: tuple[str, ...]


def is_kept(folder: Path) -> bool:
    """Whether a folder holds results that were judged, not a study that was trained."""
    return (folder / JUDGED_FILE).is_file()


def default_folder(results: Results) -> Path:
    """A folder named by the contenders and by all that was predicted: the same results have the same one."""
    key = hashlib.sha256(repr((results.rule, results.labels, results.measure)).encode())
    for name, array in _arrays(results).items():
        key.update(name.encode())
        key.update(np.ascontiguousarray(array).view(np.uint8).data)
    names = "-vs-".join(results.labels[:3]) + ("-and-more" if len(results.labels) > 3 else "")
    plain = "".join(letter if letter.isalnum() or letter in "_.+-" else "-" for letter in names)
    return Path("tiebreak-studies") / f"judged-{plain.strip('-.')[:60]}-{key.hexdigest()[:6]}"


def keep_results(folder: Path, results: Results, told: str) -> None:
    """Write results into a folder, whole or not at all.

    Raises: OSError if it cannot be written.
    """
    kept = Kept(
        source=results.source,
        told=told,
        examples=_kept_examples(results.examples),
        rule=results.rule,
        contenders=tuple(
            KeptContender(
                label=contender.label,
                seeds=tuple(contender.runs),
                own=None if contender.own is None else _kept_examples(contender.own),
            )
            for contender in results.contenders
        ),
        measure=results.measure,
        notes=results.notes,
    )
    with atomic_write(folder / ARRAYS_FILE) as file:
        np.savez(file, **_arrays(results))  # type: ignore[arg-type]
    with atomic_write(folder / JUDGED_FILE) as file:
        file.write(kept.model_dump_json(indent=1).encode() + b"\n")


def read_kept(folder: Path) -> tuple[Results, str]:
    """The results of a folder, and what was taken for what when their files were read.

    Raises: EvidenceError if the folder is damaged or of another version.
    """
    path = folder / JUDGED_FILE
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise EvidenceError(f"{path} has more than {LARGEST_JSON // 2**20} MiB.")
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != SCHEMA_VERSION:
            raise EvidenceError(
                f"{path} has schema version {version}, expected {SCHEMA_VERSION}; judge its files again."
            )
        kept = Kept.model_validate(content)
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise EvidenceError(f"{path} is damaged: {reason}. Judge its files again.") from None
    arrays = read_arrays(folder / ARRAYS_FILE)
    try:
        return _results(kept, arrays), kept.told
    except (KeyError, ValueError, TypeError) as error:
        raise EvidenceError(
            f"{folder / ARRAYS_FILE} does not fit {path.name}: {error}. Judge its files again."
        ) from None


def _results(kept: Kept, arrays: dict[str, np.ndarray]) -> Results:
    examples = _examples(kept.examples, "", arrays)
    return Results(
        source=kept.source,
        examples=examples,
        rule=kept.rule,
        contenders=tuple(
            ContenderRuns(
                label=contender.label,
                runs={seed: _run(arrays, f"{number}.{seed}.", seed) for seed in contender.seeds},
                failed={},
                own=None if contender.own is None else _examples(contender.own, f"{number}.", arrays),
            )
            for number, contender in enumerate(kept.contenders)
        ),
        notes=kept.notes,
        measure=kept.measure,
    )


def _run(arrays: dict[str, np.ndarray], place: str, seed: int) -> Run:
    parts: dict[str, Any] = {name: arrays.get(place + name) for name in PARTS}
    if parts["answers"] is None:
        raise KeyError(f"{place}answers is missing")
    parts["answers"] = parts["answers"].astype(np.int64)
    for name, kind in (("probs", np.float32), ("scores", np.float64), ("folds", np.int64)):
        if parts[name] is not None and (
            parts[name].dtype != kind or len(parts[name]) != len(parts["answers"])
        ):
            raise ValueError(f"{place}{name} is of another kind or length than the answers")
    return Run(seed=seed, **parts)


def _kept_examples(examples: Examples) -> KeptExamples:
    return KeptExamples(name=examples.name, class_names=examples.class_names, notes=examples.notes)


def _examples(kept: KeptExamples, place: str, arrays: dict[str, np.ndarray]) -> Examples:
    truth = arrays[f"{place}truth"].astype(np.int64)
    if len(truth) and not 0 <= truth.min() <= truth.max() < len(kept.class_names):
        raise ValueError(f"{place}truth goes beyond the {len(kept.class_names)} classes")
    named = {part: _texts(arrays[place + part]) for part in ("ids", "groups") if place + part in arrays}
    if any(len(values) != len(truth) for values in named.values()):
        raise ValueError("ids or groups are not one a test image")
    return Examples(
        name=kept.name,
        class_names=kept.class_names,
        truth=truth,
        notes=kept.notes,
        ids=named.get("ids"),
        groups=named.get("groups"),
    )


def _arrays(results: Results) -> dict[str, np.ndarray]:
    """All arrays by name: those of a contender or run begin with its place."""
    found = dict(_arrays_of_examples(results.examples, ""))
    for number, contender in enumerate(results.contenders):
        if contender.own is not None:
            found |= dict(_arrays_of_examples(contender.own, f"{number}."))
        for seed, run in contender.runs.items():
            for part in PARTS:
                array = getattr(run, part)
                if array is not None:
                    found[f"{number}.{seed}.{part}"] = array.astype(np.int32) if part == "answers" else array
    return found


def _arrays_of_examples(examples: Examples, place: str) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{place}truth", examples.truth.astype(np.int32)
    for part, values in (("ids", examples.ids), ("groups", examples.groups)):
        if values is not None:
            yield place + part, _as_bytes(values)


def _as_bytes(values: np.ndarray) -> np.ndarray:
    """Names as the bytes of a JSON list: NumPy's own text takes four bytes a letter of the longest."""
    return np.frombuffer(json.dumps(values.tolist(), default=str).encode("utf-8"), dtype=np.uint8)


def _texts(content: np.ndarray) -> np.ndarray:
    if content.dtype != np.uint8:
        raise ValueError("names are not kept as bytes")
    names = json.loads(content.tobytes())
    found = np.empty(len(names), dtype=object)
    found[:] = names
    return found
