"""The simplest classifier there is: one template per class, compared with the image pixel by pixel.

Shape letters: B images of a batch, C channels, H height, W width, K classes.
"""

from jaxtyping import Float
from torch import Tensor, nn


class LinearClassifier(nn.Module):
    """Multinomial logistic regression on the pixels: C*H*W -> K."""

    def __init__(self, image_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels * height * width, num_classes)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.fc(self.flatten(images))  # logits
