"""The convolutional model: small filters that look at a neighbourhood and are shared by all positions.

Shape letters: B images of a batch, C channels, H height, W width, K classes.
"""

from jaxtyping import Float
from torch import Tensor, nn

from tiebreak.errors import ModelError
from tiebreak.models.arguments import check_dropout, check_size

MIN_SIZE = 4  # two poolings leave at least one pixel


class SimpleCNN(nn.Module):
    """Two 3x3 convolutions (`width`, then 2 x `width` filters) with ReLU and 2x2 max pooling; a linear head.

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
        check_size("cnn", "width", width)
        check_dropout("cnn", dropout)
        channels, height, breadth = image_shape
        if min(height, breadth) < MIN_SIZE:
            raise ModelError(
                f"cnn needs images of at least 4x4 pixels, got {height}x{breadth}; try mlp, or --resize 8."
            )
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # 32x32 -> 16x16
            nn.Conv2d(width, 2 * width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # 16x16 -> 8x8
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * width * (height // 4) * (breadth // 4), num_classes),
        )

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.classifier(self.features(images))  # logits
