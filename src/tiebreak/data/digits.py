"""scikit-learn's digits: 1,797 grey images of 8x8 pixels, the smallest real data set at hand."""

import numpy as np
import torch

from tiebreak.data.cache import Source
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.data.heldout import check_test_fraction, hold_out

BRIGHTEST = 16  # the original pixels are counts from 0 to 16


def digits_source(test_fraction: float) -> Source:
    """The data set, with a test part split off.

    Raises: DataError unless 0 < test_fraction < 1.
    """
    check_test_fraction(test_fraction)
    return Source(identity=f"digits 1 test_fraction={test_fraction}", build=lambda: _build(test_fraction))


def _build(test_fraction: float) -> ImageDataset:
    """Pixels 0..16 become 0..255: times 255/16, rounded to the nearest (ties to the even)."""
    from sklearn.datasets import load_digits  # costs a second

    bunch = load_digits()
    images = torch.from_numpy(np.rint(bunch.images * (255 / BRIGHTEST)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    parts = hold_out("digits", images, labels, test_fraction)
    names = tuple(str(digit) for digit in range(10))
    return make_dataset("digits", *parts[:4], class_names=names, notes=(parts.note,))
