"""An MLP that has been given what helps MLPs: several layers, normalisation, dropout.

Shape letters: B images of a batch, C channels, H height, W width, K classes.
"""

from jaxtyping import Float
from torch import Tensor, nn

from tiebreak.models.arguments import check_dropout, check_size, check_switch


class DeepMLP(nn.Module):
    """`depth` hidden layers of `width` units, each with batch normalisation (if `norm`), ReLU and dropout.

    Raises: ModelError if an argument is out of range.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
        depth: int = 3,
        width: int = 512,
        norm: bool = True,
        dropout: float = 0.0,  # share of units silenced while training, in every hidden layer
    ) -> None:
        super().__init__()
        check_size("deep-mlp", "depth", depth)
        check_size("deep-mlp", "width", width)
        check_switch("deep-mlp", "norm", norm)
        check_dropout("deep-mlp", dropout)
        channels, height, breadth = image_shape
        layers: list[nn.Module] = [nn.Flatten()]
        inputs = channels * height * breadth
        for _ in range(depth):
            layers += [nn.Linear(inputs, width, bias=not norm)]  # a normalisation has a bias of its own
            layers += [nn.BatchNorm1d(width)] if norm else []
            layers += [nn.ReLU(), nn.Dropout(dropout)]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, num_classes))

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.layers(images)  # logits
