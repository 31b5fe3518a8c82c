"""Batches out of a data set's bytes: gathered, normalised, cast and laid out in one pass.

Shape letters: N images of the whole, B images of a batch, C channels, H height, W width.
"""

import ctypes
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from tiebreak.kernels.library import DTYPES, NUMBER, POINTER, load_library

SOURCE = Path(__file__).with_name("gather.cpp")


def gather_normalised(
    images: UInt8[Tensor, "N C H W"],
    chosen: Int64[Tensor, " B"],
    scale: Float[Tensor, "C 1 1"],
    shift: Float[Tensor, "C 1 1"],
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Float[Tensor, "B C H W"]:
    """The chosen images as bytes * scale + shift (computed in float32), in one pass if compiled.

    Raises: IndexError if there is no image of a chosen number.
    """
    on_cpu = images.device.type == "cpu" and images.is_contiguous() and chosen.is_contiguous()
    library = load_gather() if on_cpu and dtype in DTYPES else None
    if library is None:
        return gather_normalised_twin(images, chosen, scale, shift, dtype, channels_last)
    return _compiled(library, images, chosen, scale, shift, dtype, channels_last)


def gather_normalised_twin(
    images: UInt8[Tensor, "N C H W"],
    chosen: Int64[Tensor, " B"],
    scale: Float[Tensor, "C 1 1"],
    shift: Float[Tensor, "C 1 1"],
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Float[Tensor, "B C H W"]:
    """`gather_normalised` in PyTorch, on any device; the same values."""
    batch = images.index_select(0, chosen).to(torch.float32).mul_(scale).add_(shift)
    return batch.to(dtype, memory_format=_memory_format(channels_last))


@lru_cache(maxsize=1)
def load_gather() -> ctypes.CDLL | None:
    """The compiled kernel; None where it cannot be had."""
    return load_library(SOURCE, {"gather": [*[POINTER] * 5, *[NUMBER] * 4]}, _gives_the_values_of_the_twin)


def _compiled(
    library: ctypes.CDLL,
    images: Tensor,
    chosen: Tensor,
    scale: Tensor,
    shift: Tensor,
    dtype: torch.dtype,
    channels_last: bool,
) -> Tensor:
    numbers = chosen.numpy()
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(images):
        raise IndexError(f"there are images 0 to {len(images) - 1}, asked for {chosen.tolist()}")
    scale, shift = scale.contiguous(), shift.contiguous()
    _, channels, height, width = images.shape
    shape = (len(chosen), channels, height, width)
    batch = torch.empty(shape, dtype=dtype, memory_format=_memory_format(channels_last))
    getattr(library, f"gather_{DTYPES[dtype]}")(
        images.data_ptr(),
        chosen.data_ptr(),
        batch.data_ptr(),
        scale.data_ptr(),
        shift.data_ptr(),
        *(len(chosen), channels, height * width, channels_last),
    )
    return batch


def _gives_the_values_of_the_twin(library: ctypes.CDLL) -> bool:
    images = torch.arange(2 * 3 * 256).remainder(251).to(torch.uint8).view(2, 3, 16, 16)
    chosen = torch.tensor([1, 0])
    scale, shift = torch.tensor([[0.017, 0.0171, 0.0173], [-2.1, -2.03, -1.8]]).view(2, 3, 1, 1)
    cases = [(dtype, channels_last) for dtype in DTYPES for channels_last in (False, True)]
    return all(
        torch.equal(
            _compiled(library, images, chosen, scale, shift, *case),
            gather_normalised_twin(images, chosen, scale, shift, *case),
        )
        for case in cases
    )


def _memory_format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format
