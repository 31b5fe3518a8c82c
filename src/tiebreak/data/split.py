"""The seeded partition of a training part into train and val, as index arrays."""

import torch
from jaxtyping import Int64
from torch import Tensor

from tiebreak.errors import DataError


def split_indices(
    labels: Int64[Tensor, " N"], val_size: int, seed: int, stratify: bool = True
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " v"]]:
    """Disjoint index arrays (train, val) that together name every label once.

    With `stratify`, each class has the share in val that it has in the whole, to the nearest image.
    Without, these are the very indices of `torch.utils.data.random_split` under the same seed.

    Raises: DataError unless 1 <= val_size < N.
    """
    total = len(labels)
    if not 1 <= val_size < total:
        raise DataError(f"val_size must be at least 1 and below the {total} training images, got {val_size}.")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(total, generator=generator)
    if not stratify:
        return order[: total - val_size], order[total - val_size :]

    counts = torch.bincount(labels)
    quota = counts * val_size / total
    taken = quota.floor().to(torch.int64)
    # Largest remainders: hands the images that flooring left over to the classes most short-changed.
    short = torch.argsort(quota - taken, descending=True, stable=True)[: val_size - int(taken.sum())]
    taken[short] += 1

    of_class = labels[order]
    in_val = torch.zeros(total, dtype=torch.bool)
    for label, number in enumerate(taken.tolist()):
        in_val[order[of_class == label][:number]] = True
    return torch.nonzero(~in_val).flatten(), torch.nonzero(in_val).flatten()
