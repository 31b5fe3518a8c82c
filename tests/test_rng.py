"""Named random streams."""

import random

import numpy as np
import torch

from tiebreak.rng import derive_seed, global_stream, set_seed, stream


def test_streams_of_different_purposes_or_seeds_differ():
    seeds = {derive_seed(seed, purpose) for seed in range(50) for purpose in ("init", "split", "order")}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_stream_is_the_same_each_time():
    assert torch.equal(
        torch.rand(5, generator=stream(3, "order")), torch.rand(5, generator=stream(3, "order"))
    )


def test_a_global_stream_is_put_back_even_after_an_error():
    before = torch.get_rng_state()
    with global_stream(1, "init"):
        inside = torch.rand(3)
    with global_stream(1, "init"):
        assert torch.equal(torch.rand(3), inside)
    assert torch.equal(torch.get_rng_state(), before)


def test_set_seed_seeds_all_three_generators():
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    draws = []
    for _ in range(2):
        set_seed(42)
        draws.append((random.random(), np.random.rand(), float(torch.rand(()))))  # noqa: NPY002
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    assert draws[0] == draws[1]
