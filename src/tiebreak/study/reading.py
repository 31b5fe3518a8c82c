"""Reading the files of a study folder, which may be a stranger's: nothing is executed, sizes are bounded.

Shape letters: V validation images, T test images, K classes.
"""

import json
import zipfile
from pathlib import Path
from typing import TypeVar

import numpy as np
import safetensors.torch
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from tiebreak.errors import StudyError
from tiebreak.training.run import Predictions

SCHEMA_VERSION = 1
LARGEST_JSON = 64 * 2**20  # bytes; a study of 10,000 runs has far smaller ones
PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt")

Record = TypeVar("Record", bound=BaseModel)


def read_record(path: Path, kind: type[Record]) -> Record:
    """A JSON file as a record.

    Raises: StudyError if it is damaged, too large or of another version.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"more than {LARGEST_JSON // 2**20} MiB")
        content = json.loads(path.read_text(encoding="utf-8"))
        _check_version(path, content)
        return kind.model_validate(content)
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:  # JSON, UTF-8 and validation errors are ValueErrors
        raise StudyError(
            f"{path} is damaged: {_complaint(error)}. Remove it to run this part again."
        ) from None


def _check_version(path: Path, content: object) -> None:
    version = content.get("schema_version", SCHEMA_VERSION) if isinstance(content, dict) else None
    if type(version) is int and version != SCHEMA_VERSION:
        age = "a newer tiebreak; update to read it" if version > SCHEMA_VERSION else "an older tiebreak"
        raise StudyError(f"{path} has schema version {version}, expected {SCHEMA_VERSION}: it is of {age}.")


def _complaint(error: ValueError | RecursionError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first["loc"] else first["msg"]


def read_predictions(path: Path, val_images: int, test_images: int, classes: int) -> Predictions:
    """The stored probabilities and labels of a run.

    The arrays must lie in the archive uncompressed and have the shapes that the study promises, so
    that nothing larger than the file is ever taken into memory.

    Raises: StudyError if the file is missing, damaged, or holds anything else.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "val_probs": (val_images, classes),
        "val_labels": (val_images,),
        "test_probs": (test_images, classes),
        "test_labels": (test_images,),
    }
    try:
        if not path.is_file():
            raise ValueError("no such file")
        with zipfile.ZipFile(path) as archive:
            arrays = {name: _read_array(archive, name, shape) for name, shape in shapes.items()}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        reason = str(error).strip("'\"") or "it ends too early"
        raise StudyError(
            f"{path} is missing or damaged: {reason}. Remove its folder to run it again."
        ) from None
    _check_values(path, arrays, classes)
    return Predictions(**arrays)


def _read_array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    dtype = np.dtype(np.float32 if name.endswith("probs") else np.int64)
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with archive.open(info) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} is not in version 1.0 of the npy format")
        came, fortran, kind = np.lib.format.read_array_header_1_0(file)
        if came != shape or kind != dtype or fortran:
            raise ValueError(f"{name} holds {kind} of shape {came}, expected {dtype} of shape {shape}")
        content = file.read(int(np.prod(shape, dtype=object)) * dtype.itemsize)
    return np.frombuffer(content, dtype).reshape(shape)


def _check_values(path: Path, arrays: dict[str, NDArray[np.generic]], classes: int) -> None:
    for part in ("val", "test"):
        probs, labels = arrays[f"{part}_probs"], arrays[f"{part}_labels"]
        if not np.isfinite(probs).all():
            raise StudyError(f"{path} is damaged: {part}_probs are not all finite numbers.")
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise StudyError(f"{path} is damaged: {part}_labels go beyond 0 to {classes - 1}.")


def read_weights(path: Path) -> dict[str, Tensor]:
    """A model's tensors from a safetensors file.

    Raises: StudyError if it is missing or damaged, or of a format that can hold code.
    """
    if path.suffix.lower() in PICKLED:
        raise StudyError(
            f"{path}: pickled weights can run code when read, so they are not. Convert them where you trust "
            'them: safetensors.torch.save_file(torch.load(FILE, weights_only=True), "weights.safetensors").'
        )
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file.") from None
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise StudyError(f"{path} is not a whole safetensors file: {error}.") from None
