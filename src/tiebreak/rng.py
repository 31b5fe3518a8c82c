"""One source of randomness: every draw names its stream, and none uses a global generator.

A stream is a generator seeded by a hash of (seed, purpose). Streams of different purposes are
independent, so a draw added to one of them (say, an augmentation) leaves all others as they were.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

Event = TypeVar("Event")


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
    """Make all global generators a named stream inside the block, and put them back after it.

    PyTorch's initialisers and dropout can draw from nothing but the global generators, and a user's model
    may draw from those of NumPy and Python.
    """
    derived = derive_seed(seed, purpose)
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            torch.manual_seed(derived)
            random.seed(derived)
            np.random.seed(divmod(derived, 2**32))  # noqa: NPY002 - it takes words of 32 bits
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def in_global_stream(
    events: Iterator[Event], seed: int, purpose: str, device: torch.device
) -> Iterator[Event]:
    """The same events, each computed inside one global stream; who takes them has his own generators.

    So what a model draws depends neither on its reader nor on the executor it runs in.
    """
    states: dict[str, Tensor] | None = None
    while True:
        with global_stream(seed, purpose):
            if states is not None:
                set_global_states(states, device)
            try:
                event = next(events)
            except StopIteration:
                return
            states = global_states(device)
        yield event


def global_states(device: torch.device) -> dict[str, Tensor]:
    """Where the global generators of PyTorch (CPU and `device`), NumPy and Python stand, as tensors."""
    numpy: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002
    _, python_words, python_normal = random.getstate()
    states = {
        "global.cpu": torch.get_rng_state(),
        "global.numpy": torch.tensor(
            [*numpy["state"]["key"].tolist(), numpy["state"]["pos"], numpy["has_gauss"]]
        ),
        "global.numpy_normal": torch.tensor(numpy["gauss"], dtype=torch.float64),
        "global.python": torch.tensor(python_words),
        # Python keeps the second of a pair of normal draws; NaN: there is none.
        "global.python_normal": torch.tensor(
            float("nan") if python_normal is None else python_normal, dtype=torch.float64
        ),
    }
    if device.type == "cuda":
        states["global.cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["global.mps"] = torch.mps.get_rng_state()
    return states


def set_global_states(states: dict[str, Tensor], device: torch.device) -> None:
    """Put the global generators back to where `global_states` found them.

    Raises: KeyError, TypeError or ValueError if the states are not of that form.
    """
    *words, position, has_normal = states["global.numpy"].tolist()
    np.random.set_state(  # noqa: NPY002
        {
            "bit_generator": "MT19937",
            "state": {"key": np.array(words, dtype=np.uint32), "pos": position},
            "has_gauss": has_normal,
            "gauss": float(states["global.numpy_normal"]),
        }
    )
    python_normal = float(states["global.python_normal"])
    random.setstate(
        (
            3,
            tuple(states["global.python"].tolist()),
            None if python_normal != python_normal else python_normal,
        )
    )
    torch.set_rng_state(states["global.cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["global.cuda"], device)
    if device.type == "mps":
        torch.mps.set_rng_state(states["global.mps"])
