"""How a run's numbers were computed, as values that are stored with it; knows no PyTorch."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

PrecisionChoice = Literal["auto", "fp32", "bf16"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How one run's numbers are computed; stored with the run."""

    device: str
    precision: Precision  # fp32, or bf16 autocast: products in bfloat16, weights and sums in float32
    onednn_matmul: bool = False  # float32 products by oneDNN instead of the BLAS that PyTorch was built with
    channels_last: bool = False  # memory layout of images and convolutions
    kernels: str | None = None  # the variant of tiebreak's compiled kernels; None: PyTorch computes
    winograd: bool = (
        False  # 3x3 convolutions by Winograd's algorithm, with ReLU and pooling in one: fewer products
    )
    pool_first: bool = False  # max pooling before the ReLU that stands before it: the same values, less work
    bf16_weights: bool = False  # linear layers' gradients stay in bfloat16: the same values, less work
    bf16_images: bool = (
        False  # batches hold bfloat16, which is what the first layer would make of them anyway
    )


class Machine(BaseModel):
    """What the last digits of a result depend on beside plan and data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str
    precision: str
    kernels: str | None = None  # the variant of tiebreak's compiled kernels
    winograd: bool = False  # how convolutions are computed
    threads: int
    processor: str
    torch: str
    numpy: str
    tiebreak: str
