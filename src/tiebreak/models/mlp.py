"""The flat baseline: every pixel is a number among others, wherever it stands.

Shape letters: B images of a batch, C channels, H height, W width, K classes.
"""

from jaxtyping import Float
from torch import Tensor, nn

from tiebreak.models.arguments import check_dropout, check_size


class MLPBaseline(nn.Module):
    """One hidden layer over the flattened image: C*H*W -> hidden_dim -> K.

    Raises: ModelError if hidden_dim or dropout is out of range.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
        hidden_dim: int = 512,
        dropout: float = 0.0,  # share of hidden units silenced while training
    ) -> None:
        super().__init__()
        check_size("mlp", "hidden_dim", hidden_dim)
        check_dropout("mlp", dropout)
        channels, height, width = image_shape
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(channels * height * width, hidden_dim)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden_dim, num_classes)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        hidden = self.relu(self.fc1(self.flatten(images)))
        return self.fc2(self.dropout(hidden))  # logits
