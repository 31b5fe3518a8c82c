"""JSON that others wrote, as a data frame: records, columns and data, samples of language-model harnesses."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tiebreak.errors import EvidenceError

LARGEST = 2**30  # bytes of a JSON file, which is read whole
MOST_NUMBERS = 100_000  # of one list of probabilities
NESTED = 3  # levels of records within records that are looked into
INSIDE = ("predictions", "results", "records", "rows", "items", "samples", "data")  # where a list may lie


def frame_of_json_lines(path: Path) -> pl.DataFrame:
    """One record a line.

    Raises: EvidenceError or ValueError if a line is no record.
    """
    records = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise EvidenceError(f"{path}, line {number} is not JSON: {error}.") from None
                if not isinstance(record, dict):
                    raise EvidenceError(f"{path}, line {number} is not a record such as {{...}}.")
                records.append(record)
    return _frame(records)


def frame_of_json(path: Path) -> pl.DataFrame:
    """A list of records, {"columns", "data"}, columns of lists, or records by name or under "samples".

    Raises: EvidenceError or ValueError if it is nothing of the kind.
    """
    if path.stat().st_size > LARGEST:
        raise EvidenceError(f"{path} has more than {LARGEST // 2**30} GiB of JSON; write it as Parquet.")
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if isinstance(content, list) and content and all(isinstance(entry, dict) for entry in content):
        return _frame(content)
    if isinstance(content, dict):
        frame = _frame_of_object(content)
        if frame is not None:
            return frame
    raise EvidenceError(
        f'{path} holds no table: expected a list of records, or {{"columns": [...], "data": [[...], ...]}}.'
    )


def _frame_of_object(content: dict[str, Any]) -> pl.DataFrame | None:
    columns, data = content.get("columns"), content.get("data")
    if isinstance(columns, list) and isinstance(data, list):
        names = [str(name) for name in columns]
        return _frame([dict(zip(names, row, strict=True)) for row in data])
    samples = content.get("samples")
    if isinstance(samples, dict):  # a task each
        several = len(samples) > 1
        return _frame(
            [
                entry | ({"dataset": task} if several else {})
                for task, rows in samples.items()
                for entry in rows
            ]
        )
    if isinstance(samples, list) and isinstance(content.get("eval"), dict):  # an Inspect log
        model = content["eval"].get("model")
        runs = [{**entry, "run": entry.get("epoch", 1), "model": model} for entry in samples]
        return _frame(runs)
    for name in INSIDE:
        inside = content.get(name)
        if isinstance(inside, list) and inside and all(isinstance(entry, dict) for entry in inside):
            return _frame(inside)
    values = list(content.values())
    if values and all(isinstance(value, list) for value in values) and len({len(v) for v in values}) == 1:
        return _frame([dict(zip(content, row, strict=True)) for row in zip(*values, strict=True)])
    if values and all(isinstance(value, dict) for value in values):
        if len({frozenset(value) for value in values}) == 1 and len(values) >= len(values[0]):
            return _frame([{"example": name, **value} for name, value in content.items()])  # by row
        rows = {row: None for value in values for row in value}
        return _frame([{name: value.get(row) for name, value in content.items()} for row in rows])
    return None


def _frame(records: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Records as columns: numbers, text, truths and lists of numbers; what lies deeper is named with dots."""
    flat = [dict(_flat(record)) for record in records]
    names = dict.fromkeys(name for record in flat for name in record)
    columns = {}
    for name in names:
        values = [record.get(name) for record in flat]
        kinds = {type(value) for value in values if value is not None}
        if kinds == {int} and max(abs(v) for v in values if v is not None) >= 2**63:
            kinds = {str}  # names, as no array holds such numbers
        if kinds <= {int, float}:
            columns[name] = pl.Series(name, values, dtype=pl.Int64 if kinds == {int} else pl.Float64)
        elif kinds == {list}:
            columns[name] = pl.Series(name, values, dtype=pl.List(pl.Float64))
        elif kinds == {bool}:
            columns[name] = pl.Series(name, values, dtype=pl.Boolean)
        else:
            columns[name] = pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String)
    return pl.DataFrame(columns)


def _flat(record: Mapping[str, Any], before: str = "", depth: int = NESTED) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            if depth > 0:
                yield from _flat(value, f"{before}{name}.", depth - 1)
        elif isinstance(value, list):
            numbers = all(type(entry) in (int, float) for entry in value)
            if value and numbers and len(value) <= MOST_NUMBERS:
                yield before + name, value
        else:
            yield before + name, value
