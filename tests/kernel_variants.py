"""What tests of kernels share."""

import pytest
import torch

from tiebreak import kernels

HOW_TO_BUILD = "python setup.py build_ext --inplace"


def skip_unless_convolution(variant: str, dtype: torch.dtype) -> None:
    if not kernels.has_convolution(dtype):
        pytest.skip(f"{variant} has no convolution in {dtype}")
