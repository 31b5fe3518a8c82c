"""Other training images: a fraction of them, as many drawn anew, or a part that no other seed has."""

from dataclasses import replace

import torch

from tiebreak.data.dataset import Part
from tiebreak.errors import DataError


def redraw(part: Part, generator: torch.Generator) -> Part:
    """As many images, drawn from the part with replacement, in its order: a bootstrap sample of it."""
    chosen = torch.randint(len(part), (len(part),), generator=generator).sort().values
    return replace(part, indices=chosen if part.indices is None else part.indices[chosen])


def disjoint_part(part: Part, number: int, of: int, generator: torch.Generator) -> Part:
    """One of so many disjoint parts of a part's images, of one size and with every class in proportion.

    Generators of the same state give the parts of one division; `number` counts from 0. Images that are left
    over are in none.

    Raises: DataError if there are fewer images than classes in each.
    """
    labels = part.targets
    size, classes = len(labels) // of, len(labels.unique())
    if size < classes:
        raise DataError(
            f"{len(labels):,} training images in {of} disjoint parts are {size} each: fewer than classes. "
            "Ask for fewer seeds."
        )
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    chosen = by_class[number::of][:size].sort().values
    return replace(part, indices=chosen if part.indices is None else part.indices[chosen])


def take_fraction(part: Part, fraction: float, generator: torch.Generator) -> Part:
    """A random fraction of a part's images, with every class in proportion, in the order of the part.

    With generators of the same state a smaller fraction is part of a larger one.

    Raises: DataError if the fraction is not in 0..1 or leaves fewer images than there are classes.
    """
    if not 0 < fraction <= 1:
        raise DataError(
            f"a fraction of the training images must lie above 0 and be at most 1, got {fraction}."
        )
    if fraction == 1:
        return part
    labels = part.targets
    size = round(fraction * len(labels))
    counts = torch.bincount(labels)
    if size < int((counts > 0).sum()):
        raise DataError(f"{fraction:g} of {len(labels):,} training images are {size}: fewer than classes.")
    order = torch.randperm(len(labels), generator=generator)
    # An image's place among those of its class, as a share of the class: the smallest shares are taken.
    shares = torch.empty(len(labels))
    for label, count in enumerate(counts.tolist()):
        shares[order[labels[order] == label]] = (torch.arange(count) + 0.5) / max(count, 1)
    chosen = shares.argsort(stable=True)[:size].sort().values
    indices = chosen if part.indices is None else part.indices[chosen]
    return replace(part, indices=indices)
