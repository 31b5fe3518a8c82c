"""Read the official pickles of CIFAR without running anything that a pickle could name.

Two walls: only a file of the official checksum is looked into at all, and the only names that a pickle
gets are those that make a NumPy array.
"""

import hashlib
import io
import pickle

import numpy as np

from tiebreak.errors import DataError


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in a pickle that Python 2 can read."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"{encoding} is not for pickles")
    return text.encode("latin1")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("_codecs", "encode"): _latin1,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not for pickles")
        return _ALLOWED[module, name]


def read_official_pickle(content: bytes, md5: str, name: str) -> dict[str, object]:
    """The dictionary in a pickle; byte strings of Python 2, and all keys, become strings of Latin-1.

    Raises: DataError (naming `name`) if the content has another MD5 sum; then nothing of it is read.
    """
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(
            f"{name}: not the official file (its MD5 sum differs), and another pickle is not opened, "
            "as it could run code. Take the official file, or save the images as arrays:FILE.npz."
        )
    value = dict(_Unpickler(io.BytesIO(content), encoding="latin1").load())
    return {key.decode("latin1") if isinstance(key, bytes) else key: each for key, each in value.items()}
