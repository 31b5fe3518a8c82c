"""Batches gathered by the compiled kernel are the twin's."""

import pytest
import torch

from tiebreak import kernels
from tiebreak.kernels.gather import load_gather

DTYPES = [torch.float32, torch.bfloat16]

needs_compiler = pytest.mark.skipif(load_gather() is None, reason="needs a C++ compiler")


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_gathered_images_are_the_twins_bit_for_bit(dtype, channels_last, channels):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, channels, 7, 5), dtype=torch.uint8, generator=generator)
    chosen = torch.tensor([3, 19, 0, 3])
    scale, shift = torch.rand(2, channels, 1, 1, generator=generator)
    arguments = (images, chosen, scale, shift, dtype, channels_last)
    batch, expected = kernels.gather_normalised(*arguments), kernels.gather_normalised_twin(*arguments)
    assert torch.equal(batch, expected)
    assert batch.dtype == dtype
    assert batch.stride() == expected.stride()


@needs_compiler
@pytest.mark.parametrize("wrong", [-1, 4])
def test_an_image_that_is_not_there_is_an_error_and_no_read_outside_memory(wrong):
    images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    one = torch.ones(1, 1, 1)
    with pytest.raises(IndexError, match=rf"there are images 0 to 3, asked for \[0, {wrong}\]"):
        kernels.gather_normalised(images, torch.tensor([0, wrong]), one, one)


def test_an_empty_choice_is_an_empty_batch():
    images, one = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.ones(1, 1, 1)
    none = torch.tensor([], dtype=torch.int64)
    assert kernels.gather_normalised(images, none, one, one).shape == (0, 1, 2, 2)
