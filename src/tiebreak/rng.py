"""One source of randomness: every draw names its stream, and none uses a global generator.

A stream is a generator seeded by a hash of (seed, purpose). Streams of different purposes are
independent, so a draw added to one of them (say, an augmentation) leaves all others as they were.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

MAX_SEED = 2**32 - 1  # what numpy.random.seed takes


def set_seed(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch, as the case study's notebook does.

    For notebooks and scripts; tiebreak itself draws from named streams and leaves these alone.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global generator is the point
    torch.manual_seed(seed)


def derive_seed(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose of one replicate: the head of SHA-256 of "seed/purpose"."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, purpose: str) -> torch.Generator:
    """The generator of one purpose ("init", "split", "order", "augment", "dropout", ...) of one seed."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose))


@contextmanager
def global_stream(seed: int, purpose: str) -> Iterator[None]:
    """Make PyTorch's global generators a named stream inside the block, and put them back after it.

    PyTorch's initialisers and dropout can draw from nothing but the global generators.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, purpose))
        yield
