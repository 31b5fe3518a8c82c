"""The locally connected model: the CNN's neighbourhoods, but every position has filters of its own.

Between the MLP and the CNN it tells two ingredients apart: like the CNN it looks at neighbourhoods
(locality), unlike the CNN it must learn at every position anew what to look for (no weight sharing).

Inside the model a feature map is kept as (H, W, B, C): all images' features at one position lie side by
side, so gathering neighbourhoods copies long runs of memory and a layer is one batched matrix product.

Shape letters: B images of a batch, C channels, O output channels, H height, W width, P = H*W positions,
K classes.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from tiebreak.errors import ModelError
from tiebreak.models.arguments import check_dropout, check_size
from tiebreak.models.cnn import MIN_SIZE, SimpleCNN
from tiebreak.results.chain import Chain, Layer

TAPS = 9  # of a 3x3 filter


class LocallyConnected(nn.Module):
    """A 3x3 "convolution" with zero padding whose filters and biases differ from position to position.

    Filters start in the range in which PyTorch starts those of a convolution of the same size.
    """

    def __init__(self, in_channels: int, out_channels: int, height: int, width: int) -> None:
        super().__init__()
        fan_in = TAPS * in_channels
        bound = 1 / math.sqrt(fan_in)
        self.weight = nn.Parameter(torch.empty(height * width, fan_in, out_channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(height * width, 1, out_channels).uniform_(-bound, bound))

    def forward(self, features: Float[Tensor, "H W B C"]) -> Float[Tensor, "H W B O"]:
        height, width, batch, _ = features.shape
        patches = _gather(features).view(height * width, batch, -1)  # P x B x 9C
        return torch.baddbmm(self.bias, patches, self.weight).view(height, width, batch, -1)


class GatherNeighbours(torch.autograd.Function):
    """Each position's 3x3 neighbourhood, row by row from the top left; outside the image there are zeros.

    (H, W, B, C) -> (H, W, B, 9C). The gradient is written down because automatic differentiation would
    fill nine arrays with zeros where one will do.
    """

    @staticmethod
    def forward(features: Tensor) -> Tensor:
        padded = F.pad(features, (0, 0, 0, 0, 1, 1, 1, 1))
        return torch.cat([padded[window] for window in windows(*features.shape[:2])], dim=-1)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor], output: Tensor) -> None:
        pass  # the gradient depends on nothing but its own shape

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        height, width, batch, _ = gradient.shape
        padded = gradient.new_zeros(height + 2, width + 2, batch, gradient.shape[3] // TAPS)
        for window, part in zip(windows(height, width), gradient.chunk(TAPS, dim=-1), strict=True):
            padded[window] += part
        return padded[1:-1, 1:-1]


def windows(height: int, width: int) -> list[tuple[slice, slice]]:
    """Where each of the nine taps looks in an image with a border of one pixel, for all positions at once."""
    return [(slice(row, row + height), slice(col, col + width)) for row in range(3) for col in range(3)]


class PoolAndRelu(torch.autograd.Function):
    """The maximum of each 2x2 block, then ReLU: what `nn.ReLU` and `nn.MaxPool2d(2)` give, in this layout.

    (H, W, B, C) -> (H // 2, W // 2, B, C). For the gradient one byte an output says which of the four
    was the largest, or that the ReLU was closed; PyTorch's own pooling would turn the layout around twice.
    """

    @staticmethod
    def forward(features: Tensor) -> tuple[Tensor, Tensor]:
        first, *others = corners(features)
        highest, which = first, torch.zeros_like(first, dtype=torch.uint8)
        for number, corner in enumerate(others, start=1):
            which.masked_fill_(corner > highest, number)
            highest = torch.maximum(highest, corner)
        return F.relu(highest), which.masked_fill_(highest <= 0, 4)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.shape = inputs[0].shape  # type: ignore[attr-defined]

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor, _: Tensor) -> Tensor:
        (which,) = ctx.saved_tensors  # type: ignore[attr-defined]
        spread = gradient.new_zeros(ctx.shape)  # type: ignore[attr-defined]
        for number, corner in enumerate(corners(spread)):
            torch.mul(gradient, which == number, out=corner)
        return spread


def corners(features: Tensor) -> list[Tensor]:
    """The four corners of all 2x2 blocks; an odd last row or column is left out, as in `nn.MaxPool2d(2)`."""
    height, width = (size - size % 2 for size in features.shape[:2])
    return [features[row:height:2, col:width:2] for row in range(2) for col in range(2)]


# PyTorch's stubs leave `apply` without types.
_gather: Callable[[Tensor], Tensor] = GatherNeighbours.apply
_pool: Callable[[Tensor], tuple[Tensor, Tensor]] = PoolAndRelu.apply


class LocalNet(nn.Module):
    """`SimpleCNN` with untied filters: two locally connected layers (`width`, then 2 x `width` filters a
    position) with ReLU and 2x2 max pooling; a linear head.

    Raises: ModelError if the image is smaller than 4x4, or width or dropout is out of range.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
        width: int = 32,
        dropout: float = 0.0,  # share of features silenced before the head while training
    ) -> None:
        super().__init__()
        check_size("local", "width", width)
        check_dropout("local", dropout)
        channels, height, breadth = image_shape
        if min(height, breadth) < MIN_SIZE:
            raise ModelError(
                f"local needs images of at least 4x4 pixels, got {height}x{breadth}; try mlp, or --resize 8."
            )
        self.local1 = LocallyConnected(channels, width, height, breadth)
        self.local2 = LocallyConnected(width, 2 * width, height // 2, breadth // 2)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2 * width * (height // 4) * (breadth // 4), num_classes)

    def chain(self) -> Chain:
        """The layers as plain data, for a page that computes them."""
        pool = {"name": "pool", "kernel": (2, 2), "stride": (2, 2)}
        layers = []
        for name in ("local1", "local2"):
            layers += [
                Layer(kind="local", name=name),
                Layer(kind="relu", name="relu"),
                Layer(kind="maxpool", **pool),
            ]
        return Chain(layers=(*layers, Layer(kind="flatten", name="flatten"), Layer(kind="linear", name="fc")))

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        features = images.permute(2, 3, 0, 1)
        features, _ = _pool(self.local1(features))
        features, _ = _pool(self.local2(features))
        flat = features.permute(2, 3, 0, 1).flatten(1)  # the CNN's order: channel, row, column
        return self.fc(self.dropout(flat))  # logits


@torch.no_grad()
def tie_filters(local: LocalNet, cnn: SimpleCNN) -> None:
    """Give every position of `local` the filters of `cnn`, and its head: then both compute the same."""
    convolutions = [layer for layer in cnn.features if isinstance(layer, nn.Conv2d)]
    for layer, convolution in zip((local.local1, local.local2), convolutions, strict=True):
        assert convolution.bias is not None
        # (O, C, 3, 3) -> (9C, O): the taps vary slower than the channels, as in `GatherNeighbours`.
        filters = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
        layer.weight.copy_(filters.expand_as(layer.weight))
        layer.bias.copy_(convolution.bias.expand_as(layer.bias))
    head = cnn.classifier[-1]
    assert isinstance(head, nn.Linear)
    local.fc.load_state_dict(head.state_dict())
