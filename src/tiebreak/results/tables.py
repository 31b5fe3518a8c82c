"""Tables that others wrote, as data frames: CSV, TSV, Parquet, JSON Lines, JSON, ARFF."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl

from tiebreak.errors import EvidenceError
from tiebreak.results.records import frame_of_json, frame_of_json_lines

LARGEST_TEXT = 4 * 2**30  # bytes of a text table
SEPARATED = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": ",", ".pred": ","}
TABLES = (*SEPARATED, ".parquet", ".pq", ".jsonl", ".ndjson", ".json", ".arff")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|nan|inf", re.IGNORECASE)


def read_table(path: Path) -> pl.DataFrame:
    """A table with named columns; one without a header gets the columns "0", "1", ...

    Raises: EvidenceError if the file is missing, empty, damaged, too large, or of a kind that is not read.
    """
    suffix = path.suffix.lower()
    try:
        if path.stat().st_size == 0:
            raise EvidenceError(f"{path} is empty.")
        if suffix not in (".parquet", ".pq") and path.stat().st_size > LARGEST_TEXT:
            raise EvidenceError(f"{path} has more than {LARGEST_TEXT // 2**30} GiB; write it as Parquet.")
        frame = _read(path, suffix)
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, RecursionError) as error:
        raise EvidenceError(f"{path} is damaged: {_first_line(error)}.") from None
    if frame.height == 0:
        raise EvidenceError(f"{path} has no rows.")
    return frame.with_columns(
        pl.col(pl.Int128).cast(pl.String)
    )  # names, as no NumPy array holds such numbers


def has_header(frame: pl.DataFrame) -> bool:
    """Whether the columns were named by the file."""
    return frame.columns != [str(index) for index in range(frame.width)]


def _read(path: Path, suffix: str) -> pl.DataFrame:
    if suffix in (".parquet", ".pq"):
        return pl.read_parquet(path)
    if suffix in (".jsonl", ".ndjson"):
        return frame_of_json_lines(path)
    if suffix == ".json":
        return frame_of_json(path)
    if suffix == ".arff":
        return _read_arff(path)
    return _read_separated(path, SEPARATED[suffix])


def _read_separated(path: Path, separator: str) -> pl.DataFrame:
    with path.open("rb") as file:
        head = file.read(65_536)
    if b"\0" in head:
        raise EvidenceError(f"{path} is not UTF-8 text; write it as UTF-8.")
    first = next(iter(head.decode("utf-8-sig", errors="replace").splitlines()), "")
    if first.count(separator) == 0:
        separator = next((other for other in (";", "\t", ",") if other in first), separator)
    decimal_comma = separator == ";" and re.search(rb"\d,\d", head) is not None and b"." not in head
    cells = [cell.strip().strip('"') for cell in first.split(separator)]
    counted = cells == [str(index) for index in range(len(cells))] and len(cells) > 1
    headed = counted or not all(NUMBER.fullmatch(cell) for cell in cells)
    settings: dict[str, Any] = {
        "separator": separator,
        "has_header": headed,
        "decimal_comma": decimal_comma,
        "null_values": ["", "NA", "NaN", "nan", "null", "None"],
    }
    try:
        frame = pl.read_csv(path, infer_schema_length=10_000, **settings)
    except pl.exceptions.ComputeError:  # a column changes its kind further down, or the file is damaged
        frame = pl.read_csv(path, infer_schema_length=None, **settings)
    if not headed:
        return frame.rename({name: str(index) for index, name in enumerate(frame.columns)})
    return _with_lists(frame.rename({name: name.strip() for name in frame.columns}))


def _with_lists(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists that were written as text, "[0.1 0.9]" or "[0.1, 0.9]", as lists; of names, the first."""
    for name in frame.columns:
        column = frame[name]
        if (
            column.dtype != pl.String
            or not column.drop_nulls().head(100).str.contains(r"^\s*\[.*\]\s*$").all()
        ):
            continue
        inner = column.str.strip_chars("[] \n").str.replace_all(r"[,\s]+", " ")
        try:
            frame = frame.with_columns(inner.str.split(" ").cast(pl.List(pl.Float64)).alias(name))
        except pl.exceptions.InvalidOperationError:
            first = column.str.extract(r"""^\s*\[\s*['"]([^'"]*)['"]""")
            frame = frame.with_columns(first.alias(name))
    return frame


def _read_arff(path: Path) -> pl.DataFrame:
    from scipy.io import arff

    try:
        rows, meta = arff.loadarff(StringIO(path.read_text(encoding="utf-8")))
    except (arff.ArffError, NotImplementedError, StopIteration, IndexError) as error:
        raise EvidenceError(f"{path} is not ARFF that can be read: {_first_line(error)}.") from None
    return pl.DataFrame(
        {
            name: rows[name] if kind == "numeric" else [value.decode("utf-8") for value in rows[name]]
            for name, kind in zip(meta.names(), meta.types(), strict=True)
        }
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
