"""The convolutional network of the CIFAR-10 speed-runs: narrow at first, normalised, and quick to learn.

After Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (https://arxiv.org/abs/2404.00498).

Shape letters: N images of the training part, B of a batch, C channels, H height, W width, K classes.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tiebreak.errors import ModelError
from tiebreak.models.arguments import check_size, check_switch

PATCH = 2  # pixels to a side of what the first layer looks at
MIN_SIZE = 16
EPSILON = 5e-4  # added to the variances that the first layer divides by
WIDER = 4  # times the channels of the first group, in the others
OF_LAST_BATCH = 0.4  # what a batch counts in the running statistics: few batches are seen in all
LOGIT_SCALE = 1 / 9


class Group(nn.Sequential):
    """Two 3x3 convolutions, the first with pooling, that begin by passing on what they are given."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            _convolution(inputs, outputs),
            nn.MaxPool2d(2),
            _norm(outputs),
            nn.GELU(),
            _convolution(outputs, outputs),
            _norm(outputs),
            nn.GELU(),
        )


class AirNet(nn.Module):
    """A first layer that whitens patches of 2x2 pixels, then three groups of two convolutions.

    `width`: channels of the first group; the others have four times as many. `whitening`: the first layer is
    set from training images, by `whiten`, and not trained; without, it is trained like the others.

    Raises: ModelError if an argument is out of range, or images are smaller than 16x16.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
        width: int = 64,
        whitening: bool = True,
    ) -> None:
        super().__init__()
        check_size("airnet", "width", width)
        check_switch("airnet", "whitening", whitening)
        channels, height, breadth = image_shape
        if min(height, breadth) < MIN_SIZE:
            raise ModelError(f"airnet needs images of at least 16x16 pixels, got {height}x{breadth}.")
        inputs = 2 * channels * PATCH**2  # each direction, and against it
        self.first = nn.Conv2d(channels, inputs, kernel_size=PATCH)
        self.first.weight.requires_grad_(not whitening)
        self.whitening = whitening
        self.groups = nn.Sequential(
            nn.GELU(), Group(inputs, width), Group(width, WIDER * width), Group(WIDER * width, WIDER * width)
        )
        self.head = nn.Linear(WIDER * width, num_classes, bias=False)

    @torch.no_grad()
    def whiten(self, images: Float[Tensor, "N C H W"]) -> None:
        """Let the first layer give what is uncorrelated and of one variance in patches of these images."""
        self.first.weight.copy_(whitening_filters(images))

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        features = self.groups(self.first(images))
        return LOGIT_SCALE * self.head(features.amax(dim=(2, 3)))  # logits, from the largest of each channel


def whitening_filters(images: Float[Tensor, "N C H W"]) -> Float[Tensor, "8*C C 2 2"]:
    """The eigenvectors of the patches' covariance, each over its standard deviation, and their negatives.

    Computed in float64, as small eigenvalues are differences of large numbers.
    """
    channels = images.shape[1]
    patches = F.unfold(images.double(), PATCH).transpose(1, 2).flatten(0, 1)
    covariance = patches.T @ patches / len(patches)  # images are normalised: their mean is near zero
    variances, directions = torch.linalg.eigh(covariance)
    directions = directions / (variances + EPSILON).sqrt()
    # An eigenvector and its negative are as good; which of them comes first must not depend on the library.
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    filters = (directions * largest.sign()).T.reshape(-1, channels, PATCH, PATCH)
    return torch.cat([filters, -filters]).to(images.dtype)


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution whose first filters pass on their inputs (Zagoruyko & Komodakis 2017, DiracNets)."""
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    if outputs >= inputs:
        nn.init.dirac_(convolution.weight[:inputs])
    return convolution


def _norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation that learns a shift alone: the convolution after it scales."""
    norm = nn.BatchNorm2d(channels, momentum=OF_LAST_BATCH)
    norm.weight.requires_grad_(False)
    return norm
