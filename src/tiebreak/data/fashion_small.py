"""fashion-small, the default: 10,000 + 2,000 images of Fashion-MNIST that come inside the package.

Drawn evenly over the classes by tools/make_fashion_small.py; the licence lies beside the file.
"""

from dataclasses import replace
from importlib.resources import as_file, files

from tiebreak.data.arrays import read_arrays
from tiebreak.data.cache import Source
from tiebreak.data.dataset import ImageDataset
from tiebreak.data.idx import FASHION_MNIST
from tiebreak.data.names import DEFAULT_DATASET

FINGERPRINT = "a9a01e3c0e606cf35bb121a71f2e3d1fb0c79f31848686cb5d49345ac4777886"


def fashion_small_source() -> Source:
    return Source(identity=f"{DEFAULT_DATASET} {FINGERPRINT}", build=_build)


def _build() -> ImageDataset:
    with as_file(files("tiebreak.data") / "files" / "fashion-small.npz") as path:
        data = read_arrays(path, name=DEFAULT_DATASET, class_names=FASHION_MNIST.class_names)
    if data.fingerprint == FINGERPRINT:
        return data
    return replace(data, verified=False, notes=(f"unverified data: {DEFAULT_DATASET}, the file was changed",))
