"""What the files of a run hold, which may be a stranger's: nothing is executed, sizes are bounded.

Shape letters: V validation images, T test images, K classes.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tiebreak.errors import StudyError
from tiebreak.results.run import Predictions

LARGEST_ERROR = 0.01  # of a sum of probabilities


def parse_predictions(
    path: Path, content: bytes, val_images: int, test_images: int, classes: int
) -> Predictions:
    """The probabilities and labels of a run, from the content of the npz file at `path`.

    The arrays must lie in the archive uncompressed and have the shapes that the study promises, so
    that nothing larger than the file is ever taken into memory.

    Raises: StudyError if it is damaged or holds anything else.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "val_probs": (val_images, classes),
        "val_labels": (val_images,),
        "test_probs": (test_images, classes),
        "test_labels": (test_images,),
    }
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = {name: _read_array(archive, name, shape) for name, shape in shapes.items()}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        reason = str(error).strip("'\"") or "it ends too early"
        raise StudyError(f"{path} is damaged: {reason}. {train_again(path.parent)}") from None
    for part in ("val", "test"):
        probs, labels = arrays[f"{part}_probs"].astype(np.float64), arrays[f"{part}_labels"]
        # NaN fails both.
        if not ((probs >= 0).all() and (np.abs(probs.sum(axis=1) - 1) < LARGEST_ERROR).all()):
            raise StudyError(
                f"{path} is damaged: {part}_probs are not all probabilities. {train_again(path.parent)}"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise StudyError(
                f"{path} is damaged: {part}_labels go beyond 0 to {classes - 1}. {train_again(path.parent)}"
            )
    return Predictions(**arrays)


def train_again(run_folder: Path) -> str:
    """The way on from a run whose files are not what they were."""
    return f"Remove {run_folder} and give the same command to train it again."


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
