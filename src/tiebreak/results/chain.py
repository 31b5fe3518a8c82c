"""A model's layers as plain values, so that others can compute it without its code."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

LARGEST = 1024  # kernel, stride or padding of a layer that a page computes
Size = Annotated[int, Field(ge=1, le=LARGEST)]
Border = Annotated[int, Field(ge=0, le=LARGEST)]
Kind = Literal["linear", "conv", "local", "batchnorm", "relu", "maxpool", "avgpool", "flatten"]


class Layer(BaseModel):
    """One layer. Its weights are `name`.weight and so on among the model's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    name: str
    kernel: tuple[Size, Size] = (1, 1)  # height, width; of conv, local and the poolings
    stride: tuple[Size, Size] = (1, 1)
    padding: tuple[Border, Border] = (0, 0)  # zeros at each side
    eps: float = 0.0  # of batchnorm


class Chain(BaseModel):
    """The layers in the order in which they are computed; or, in words, why there is no such chain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: tuple[Layer, ...] = ()
    left_out: str | None = None
