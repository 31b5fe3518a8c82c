"""Draw fashion-small from Fashion-MNIST: 10,000 training and 2,000 test images, evenly over the classes.

    python tools/make_fashion_small.py SOURCE DEST.npz

SOURCE holds the four IDX files (Debian's package dataset-fashion-mnist puts them into
/usr/share/datasets/fashion-mnist). Needs NumPy alone; the same seed gives the same images.
"""

import gzip
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEED = 20170825  # the day on which Fashion-MNIST was published
TRAIN_PER_CLASS, TEST_PER_CLASS = 1_000, 200
CLASSES = 10


def read(path: Path, header: int) -> NDArray[np.uint8]:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def draw(
    source: Path, part: str, per_class: int, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, 28, 28) and labels (n,) in the order of the originals, `per_class` of every class."""
    images = read(source / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = read(source / f"{part}-labels-idx1-ubyte.gz", 8)
    chosen = [
        generator.choice(np.flatnonzero(labels == label), per_class, replace=False)
        for label in range(CLASSES)
    ]
    order = np.sort(np.concatenate(chosen))
    return images[order], labels[order]


def main() -> None:
    source, dest = (Path(argument) for argument in sys.argv[1:])
    generator = np.random.default_rng(SEED)
    x_train, y_train = draw(source, "train", TRAIN_PER_CLASS, generator)
    x_test, y_test = draw(source, "t10k", TEST_PER_CLASS, generator)
    np.savez_compressed(dest, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


if __name__ == "__main__":
    main()
