"""JSON files that carry their own checksum: damage is noticed, though a forger could seal again."""

import hashlib
import json
from pathlib import Path, PurePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tiebreak.errors import StudyError
from tiebreak.files import atomic_write, read_plain_file

SCHEMA_VERSION = 2  # 1: without seals, and without what identifies a run
LARGEST_JSON = 64 * 2**20  # bytes; a study of 10,000 runs has far smaller ones
SEAL, VERSION = "seal", "schema_version"

Record = TypeVar("Record", bound=BaseModel)


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def canonical(content: object) -> bytes:
    """The one text of a JSON value."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def write_sealed(path: Path, value: BaseModel | dict[str, Any]) -> None:
    """Write a value as a JSON object whose key "seal" is the SHA-256 of all others.

    Raises: OSError if it cannot be written.
    """
    text = value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value)
    content = {VERSION: SCHEMA_VERSION} | json.loads(text)
    with atomic_write(path) as file:
        sealed = content | {SEAL: digest(canonical(content))}
        file.write(json.dumps(sealed, indent=1, ensure_ascii=False).encode() + b"\n")


def read_sealed(folder: Path, name: PurePath | str, kind: type[Record], remedy: str) -> Record | None:
    """A JSON file of a study folder as a value; None if there is none. One of schema version 1 has no seal.

    `remedy`: the sentence that says how to mend a file that is damaged.

    Raises: StudyError if it is no plain file, is damaged, of another version, or not what was written.
    """
    text = read_plain_file(folder, name, LARGEST_JSON)
    if text is None:
        return None
    path = folder / name
    try:
        content = json.loads(text.decode())
        if isinstance(content, dict):
            _check_seal(path, content, remedy)
            if VERSION not in kind.model_fields:
                content.pop(VERSION, None)
        return kind.model_validate(content)
    except (ValueError, RecursionError) as error:  # JSON, UTF-8 and validation errors are ValueErrors
        raise StudyError(f"{path} is damaged: {_complaint(error)}. {remedy}") from None


def _check_seal(path: Path, content: dict[str, Any], remedy: str) -> None:
    """Whether the content is what was written; takes the seal out."""
    version = content.get(VERSION, 1)
    if type(version) is int and not 1 <= version <= SCHEMA_VERSION:
        age = "a newer tiebreak; update to read it" if version > 1 else "an older tiebreak"
        raise StudyError(f"{path} has schema version {version}, expected {SCHEMA_VERSION}: it is of {age}.")
    seal = content.pop(SEAL, None)
    if (seal is not None or version != 1) and seal != digest(canonical(content)):
        raise StudyError(f"{path} was changed after it was written: its seal does not fit. {remedy}")


def _complaint(error: ValueError | RecursionError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first["loc"] else first["msg"]
