"""A data set that several processes read from one place in memory."""

import dataclasses
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tiebreak.data.cache import ARRAYS
from tiebreak.data.dataset import ImageDataset


@dataclass(frozen=True, kw_only=True)
class SharedData:
    """A data set as files that can be mapped into memory, and all of it that is no array."""

    folder: Path
    facts: dict[str, Any]


@contextmanager
def share_data(data: ImageDataset) -> Iterator[SharedData]:
    """Lay the data set's arrays into files for the time of the block.

    The system keeps one copy of them in memory, however many processes read it.
    """
    with tempfile.TemporaryDirectory(prefix="tiebreak-", ignore_cleanup_errors=True) as name:
        for array_name, array in arrays_of(data).items():
            np.save(Path(name) / f"{array_name}.npy", array, allow_pickle=False)
        yield SharedData(folder=Path(name), facts=facts_of(data))


def open_shared(shared: SharedData) -> ImageDataset:
    """The data set, its arrays mapped from the files."""
    # Copy-on-write: PyTorch wants memory that can be written.
    arrays = {name: np.load(shared.folder / f"{name}.npy", mmap_mode="c") for name in ARRAYS}
    return dataset_of(arrays, shared.facts)


def arrays_of(data: ImageDataset) -> dict[str, np.ndarray]:
    """The data set's arrays by name."""
    return {name: getattr(data, name).contiguous().numpy() for name in ARRAYS}


def facts_of(data: ImageDataset) -> dict[str, Any]:
    """All of a data set that is no array."""
    names = [field.name for field in dataclasses.fields(data) if field.name not in ARRAYS]
    return {name: getattr(data, name) for name in names}


def dataset_of(arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> ImageDataset:
    """The data set again; it shares the arrays' memory, which nobody writes to."""
    tensors: dict[str, Any] = {name: _as_tensor(array) for name, array in arrays.items()}
    return ImageDataset(**tensors, **facts)


def _as_tensor(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)
