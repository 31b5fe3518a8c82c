"""Networks that see an image as a row of patches: what happens to a patch is the same everywhere, as in a
convolution, but what patches tell each other is learnt for each pair of places (MLP-Mixer) or computed from
what they show (vision transformer).

Tolstikhin et al. 2021, arXiv:2105.01601; Dosovitskiy et al. 2020, arXiv:2010.11929.

Shape letters: B images of a batch, C channels, H height, W width, P patches, D numbers of a patch, K classes.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tiebreak.errors import ModelError
from tiebreak.models.arguments import check_dropout, check_size


class Patches(nn.Module):
    """An image cut into squares, each brought to `width` numbers by the same linear map."""

    def __init__(self, model: str, image_shape: tuple[int, int, int], patch: int, width: int) -> None:
        super().__init__()
        check_size(model, "patch", patch)
        check_size(model, "width", width)
        channels, height, breadth = image_shape
        if height % patch or breadth % patch:
            raise ModelError(
                f"{model}: images of {height}x{breadth} cannot be cut into patches of {patch}x{patch}."
            )
        self.count = (height // patch) * (breadth // patch)
        self.embed = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B P D"]:
        return self.embed(images).flatten(2).transpose(1, 2)


def two_layers(width: int, hidden: int, dropout: float) -> nn.Sequential:
    """What both networks do to each patch alone."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))


class MixerBlock(nn.Module):
    """Mix the patches, the same for each of their numbers; then the numbers, the same for each patch."""

    def __init__(self, patches: int, width: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.across_patches = two_layers(patches, 2 * patches, dropout)
        self.across_numbers = two_layers(width, 2 * width, dropout)

    def forward(self, rows: Float[Tensor, "B P D"]) -> Float[Tensor, "B P D"]:
        rows = rows + self.across_patches(self.norm1(rows).transpose(1, 2)).transpose(1, 2)
        return rows + self.across_numbers(self.norm2(rows))


class AttentionBlock(nn.Module):
    """Every patch asks all others, and takes from those whose answer fits; then two layers on each alone."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask = nn.Linear(width, 3 * width)  # a question, a key and a value of each patch
        self.project = nn.Linear(width, width)
        self.alone = two_layers(width, 2 * width, dropout)

    def forward(self, rows: Float[Tensor, "B P D"]) -> Float[Tensor, "B P D"]:
        batch, patches, width = rows.shape
        asked = self.ask(self.norm1(rows)).view(batch, patches, 3, self.heads, width // self.heads)
        question, key, value = asked.permute(2, 0, 3, 1, 4)
        weights = (question @ key.transpose(2, 3) / key.shape[3] ** 0.5).softmax(dim=3)
        answers = (weights @ value).transpose(1, 2).reshape(batch, patches, width)
        rows = rows + self.project(answers)
        return rows + self.alone(self.norm2(rows))


class Mixer(nn.Module):
    """MLP-Mixer: `depth` blocks over patches of `patch` x `patch` pixels.

    Raises: ModelError if an argument is out of range or the patches do not fit the images.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
        patch: int = 4,
        width: int = 64,
        depth: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_size("mixer", "depth", depth)
        check_dropout("mixer", dropout)
        self.patches = Patches("mixer", image_shape, patch, width)
        self.blocks = nn.Sequential(*(MixerBlock(self.patches.count, width, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.head(self.norm(self.blocks(self.patches(images))).mean(dim=1))  # logits


class ViT(nn.Module):
    """A tiny vision transformer: `depth` blocks of attention over patches of `patch` x `patch` pixels.

    Raises: ModelError if an argument is out of range, or patches or heads do not fit.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
        patch: int = 4,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_size("vit", "depth", depth)
        check_size("vit", "heads", heads)
        check_dropout("vit", dropout)
        self.patches = Patches("vit", image_shape, patch, width)
        if width % heads:
            raise ModelError(f"vit: a width of {width} cannot be divided among {heads} heads.")
        # Where a patch lies is not in what it shows: each place has numbers of its own, which are learnt.
        self.places = nn.Parameter(0.02 * torch.randn(self.patches.count, width))
        self.blocks = nn.Sequential(*(AttentionBlock(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        rows = self.blocks(self.patches(images) + self.places)
        return self.head(self.norm(rows).mean(dim=1))  # logits
