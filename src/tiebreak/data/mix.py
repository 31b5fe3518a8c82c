"""Images of a batch mixed with one another, and their labels with them.

mixup (Zhang et al. 2018, https://arxiv.org/abs/1710.09412) blends two images; CutMix (Yun et al. 2019,
https://arxiv.org/abs/1905.04899) pastes a box of one into the other. Partners are the batch in reverse order:
images are shuffled already.

Shape letters: B images of a batch, C channels, H height, W width, K classes, S batches of an epoch.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How strongly: the parameter of Beta(a, a), from which a batch's share is drawn; 0 is off.

    With both, a coin decides for each batch.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def on(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0


@dataclass(frozen=True, kw_only=True, eq=False)
class MixDraws:
    """One epoch's random choices, one per batch."""

    share: Float[Tensor, " S"]  # of a batch's own images, the rest is of their partners
    cut: Float[Tensor, " S"]  # 1: by a box; 0: by blending
    place: Float[Tensor, "S 2"]  # of the box's centre, as shares of height and width


def draw_mix(mix: Mix, batches: int, generator: torch.Generator) -> MixDraws:
    """Draws for so many batches; from even ones, so that settings stay paired."""
    from scipy.special import betaincinv  # late: runs without it need no SciPy

    even, coin = torch.rand((2, batches), generator=generator, dtype=torch.float64)
    place = torch.rand((batches, 2), generator=generator)
    cut = (coin < 0.5) if mix.mixup and mix.cutmix else torch.full((batches,), mix.cutmix > 0)
    strength = torch.where(cut, mix.cutmix, mix.mixup).double().numpy()
    share = torch.from_numpy(betaincinv(strength, strength, even.numpy()))
    return MixDraws(share=share.float(), cut=cut.float(), place=place)


def mix_batch(
    images: Float[Tensor, "B C H W"], labels: Int64[Tensor, " B"], classes: int, draws: MixDraws, number: int
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B K"]]:
    """The batch of that number in the epoch, mixed; labels become shares of the classes."""
    share, partners = float(draws.share[number]), images.flip(0)
    if draws.cut[number]:
        top, bottom, left, right = _box(images.shape[2:], share, draws.place[number].tolist())
        images = images.clone()
        images[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])
    else:
        images = torch.lerp(partners, images, share)
    targets = F.one_hot(labels, classes).float()
    return images, torch.lerp(targets.flip(0), targets, share)


def _box(size: torch.Size, share: float, place: list[float]) -> tuple[int, int, int, int]:
    """Rows and columns of a box of 1 - share of the area about a place, as far as it is inside the image."""
    side = (1 - share) ** 0.5
    ends = []
    for pixels, centre in zip(size, place, strict=True):
        first, half = int(centre * pixels), round(side * pixels) // 2
        ends += [max(first - half, 0), min(first + half, pixels)]
    return ends[0], ends[1], ends[2], ends[3]
