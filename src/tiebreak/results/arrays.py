"""Arrays that others wrote: NPY, NPZ, safetensors. Without pickle, and never more than a bounded size."""

import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from tiebreak.errors import EvidenceError
from tiebreak.results.pickled import refuse_pickle

LARGEST = 16 * 2**30  # bytes of a file's arrays in memory
ARRAYS = (".npy", ".npz", ".safetensors")
DAMAGED = (  # what a broken header, archive or block raises
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    SyntaxError,
    NotImplementedError,
    OverflowError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    SafetensorError,
)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name; the one of an NPY file has the name "".

    Raises: EvidenceError if the file is missing, damaged, too large, or holds pickled objects.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # NumPy's, of headers that Python 2 wrote
            return _read(path)
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read: {error.strerror or error}.") from None
    except DAMAGED as error:
        reason = (str(error).strip().splitlines() or ["it ends too early"])[0].rstrip(".")
        if any(word in reason for word in ("allow_pickle", "Object arrays", "Python objects")):
            raise refuse_pickle(path, "an array of Python objects (a pickle)") from None
        raise EvidenceError(f"{path} is damaged: {reason}.") from None


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix.lower() == ".safetensors":
        return dict(safetensors.numpy.load_file(path))
    if path.suffix.lower() == ".npy":
        return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > LARGEST:
        raise EvidenceError(f"{path} holds {size / 2**30:.0f} GiB of arrays; the most is {LARGEST // 2**30}.")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
