"""A control for the CNN: filters shared by all positions, as in a convolution, that do not look nearby.

Shape letters: B images of a batch, C channels, O output channels, H height, W width, K classes.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tiebreak.errors import ModelError
from tiebreak.models.arguments import check_dropout, check_size
from tiebreak.models.cnn import SimpleCNN

TAPS = 9  # of a 3x3 filter
FAR = 4  # a tap lies at least H / FAR rows or W / FAR columns away
MIN_SIZE = 8  # below, the second layer has no room for nine such places


class ScatteredConv(nn.Module):
    """A convolution whose nine taps lie at fixed random places far away; beyond the border it wraps around.

    Weights, arithmetic and equivariance to (circular) shifts are those of a 3x3 convolution; only
    nearness is gone. The places are drawn once, when the layer is made, and are not learned.
    """

    offsets: Tensor  # rows and columns of each tap

    def __init__(self, in_channels: int, out_channels: int, height: int, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(TAPS * in_channels, out_channels, kernel_size=1)
        self.register_buffer("offsets", draw_far_offsets(height, width))

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B O H W"]:
        taps = [features.roll((-down, -right), dims=(2, 3)) for down, right in self.offsets.tolist()]
        return self.mix(torch.cat(taps, dim=1))


def draw_far_offsets(height: int, width: int) -> Tensor:
    """Nine distinct (row, column) offsets, each far from (0, 0) also around the border; global generator."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    around_rows, around_columns = torch.minimum(rows, height - rows), torch.minimum(columns, width - columns)
    far = (around_rows >= math.ceil(height / FAR)) | (around_columns >= math.ceil(width / FAR))
    places = far.nonzero()
    return places[torch.randperm(len(places))[:TAPS]]


def scattered_cnn(
    image_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    width: int = 32,
    dropout: float = 0.0,  # share of features silenced before the head while training
) -> nn.Module:
    """`SimpleCNN` with its two convolutions replaced; pooling and head stay, and so do parameters and FLOPs.

    Raises: ModelError if the image is smaller than 8x8, or width or dropout is out of range.
    """
    check_size("cnn-shuffled-taps", "width", width)
    check_dropout("cnn-shuffled-taps", dropout)
    channels, height, breadth = image_shape
    if min(height, breadth) < MIN_SIZE:
        raise ModelError(
            f"cnn-shuffled-taps needs images of at least 8x8 pixels, got {height}x{breadth}; try --resize 8."
        )
    model = SimpleCNN(image_shape, num_classes, width, dropout)
    model.features[0] = ScatteredConv(channels, width, height, breadth)
    model.features[3] = ScatteredConv(width, 2 * width, height // 2, breadth // 2)
    return model
