"""A data set that several processes read from one place in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import numpy as np

from tiebreak.data.cache import map_array
from tiebreak.data.dataset import ARRAYS, ImageDataset, arrays_of, dataset_of, facts_of
from tiebreak.data.facts import Facts
from tiebreak.study.where.scratch import no_room, scratch_folder


@dataclass(frozen=True, kw_only=True)
class SharedData:
    """A data set as files that can be mapped into memory, and all of it that is no array."""

    folder: Path
    facts: Facts
    temporary: bool  # the files are for this use alone; else they are the cache's


@contextmanager
def share_data(data: ImageDataset) -> Iterator[SharedData]:
    """The data set's arrays in files for the time of the block: those of the cache, if they are the same.

    The system keeps one copy of them in memory, however many processes read it.

    Raises: TiebreakError if the files cannot be written.
    """
    facts, arrays = facts_of(data), arrays_of(data)
    if data.folder is not None and _holds(data.folder, arrays):
        yield SharedData(folder=data.folder, facts=facts, temporary=False)
        return
    with scratch_folder() as folder:
        for name, array in arrays.items():
            path = folder / f"{name}.npy"
            try:
                np.save(path, array, allow_pickle=False)
            except OSError as error:
                raise no_room(path, error) from error
        yield SharedData(folder=folder, facts=facts, temporary=True)


def _holds(folder: Path, arrays: dict[str, np.ndarray]) -> bool:
    """Whether a folder holds these arrays still: files may be removed, and arrays in memory changed."""
    try:
        return all(np.array_equal(map_array(folder, name), array) for name, array in arrays.items())
    except (OSError, ValueError):
        return False


def remove_shared(shared: SharedData) -> None:
    """Remove the files in the place of a process that could not."""
    if shared.temporary:
        rmtree(shared.folder, ignore_errors=True)


def open_shared(shared: SharedData) -> ImageDataset:
    """The data set, its arrays mapped from the files."""
    return dataset_of({name: map_array(shared.folder, name) for name in ARRAYS}, shared.facts)
