"""The residual network for small images: a block learns what to add to its input, so depth does not hurt.

He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2 (the network for CIFAR-10).

Shape letters: B images of a batch, C channels, H height, W width, K classes.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tiebreak.errors import ModelError
from tiebreak.models.arguments import check_size

STAGES = 3  # each halves the image and doubles the channels, but for the first
MIN_SIZE = 4
MIN_WIDTH = 8  # oneDNN 3 on AVX2 crashes in 1x1 convolutions of fewer channels with a stride


class Block(nn.Module):
    """Two 3x3 convolutions, added to their input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        # Where the shape changes, the input is brought into it by a 1x1 convolution (the paper's option B).
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        change = F.relu(self.norm1(self.conv1(features)))
        change = self.norm2(self.conv2(change))
        return F.relu(self.shortcut(features) + change)


class ResNet(nn.Module):
    """`depth` layers (8, 14, 20, ...: six more each time), `width` channels in the first of three stages.

    Raises: ModelError if the depth is none of these, the width is out of range, or images are under 4x4.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
        depth: int = 8,
        width: int = 16,
    ) -> None:
        super().__init__()
        check_size("resnet", "depth", depth)
        check_size("resnet", "width", width)
        if depth < 8 or depth % 6 != 2:
            raise ModelError(f"resnet: depth must be 8, 14, 20, 26, ... (6 n + 2), got {depth}.")
        if width < MIN_WIDTH:
            raise ModelError(f"resnet: width must be at least {MIN_WIDTH}, got {width}.")
        channels, height, breadth = image_shape
        if min(height, breadth) < MIN_SIZE:
            raise ModelError(f"resnet needs images of at least 4x4 pixels, got {height}x{breadth}.")
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        blocks, inputs = [], width
        for stage in range(STAGES):
            outputs = width * 2**stage
            for block in range((depth - 2) // 6):
                blocks.append(Block(inputs, outputs, stride=2 if stage and not block else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, num_classes)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        features = self.blocks(self.stem(images))
        return self.head(features.mean(dim=(2, 3)))  # logits, from the mean over positions
