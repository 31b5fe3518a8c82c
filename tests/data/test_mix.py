"""mixup and CutMix against one image at a time, and what is drawn for them."""

import numpy as np
import pytest
import torch
from scipy import stats

from tiebreak.data.batches import Batches
from tiebreak.data.mix import Mix, MixDraws, draw_mix, mix_batch
from tiebreak.errors import DataError
from tiebreak.rng import stream

LABELS = torch.tensor([0, 2, 1, 1, 2])


def some_images() -> torch.Tensor:
    return torch.randn(5, 3, 8, 6, generator=stream(0, "trial"))


def one_draw(share: float, *, cut: bool, place: tuple[float, float] = (0.5, 0.5)) -> MixDraws:
    return MixDraws(
        share=torch.tensor([share]), cut=torch.tensor([float(cut)]), place=torch.tensor([list(place)])
    )


def test_mixup_blends_images_and_labels_alike() -> None:
    images = some_images()
    mixed, targets = mix_batch(images, LABELS, 3, one_draw(0.7, cut=False), 0)
    for index in range(5):
        partner = 4 - index
        torch.testing.assert_close(mixed[index], 0.7 * images[index] + 0.3 * images[partner])
        expected = torch.zeros(3)
        expected[LABELS[index]] += 0.7
        expected[LABELS[partner]] += 0.3
        torch.testing.assert_close(targets[index], expected)


@pytest.mark.parametrize("place", [(0.5, 0.5), (0.0, 0.99)])
def test_cutmix_pastes_a_box_and_counts_its_pixels(place: tuple[float, float]) -> None:
    images = some_images()
    mixed, targets = mix_batch(images, LABELS, 3, one_draw(0.6, cut=True, place=place), 0)
    from_partner = (mixed == images.flip(0)).all(dim=1)
    own = (mixed == images).all(dim=1)
    assert bool((own | from_partner).all())
    changed = ~own[0]
    rows, columns = changed.any(dim=1).nonzero().ravel(), changed.any(dim=0).nonzero().ravel()
    assert changed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all(), "one box"
    share = 1 - changed.double().mean().item()
    assert targets[0].tolist() == pytest.approx([share, 0, 1 - share])
    assert torch.equal(images, some_images()), "the images themselves stay"


def test_shares_follow_the_beta_distribution() -> None:
    drawn = draw_mix(Mix(mixup=0.4), 4_000, stream(0, "mix"))
    assert stats.kstest(drawn.share.numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 0.01
    assert not drawn.cut.any()
    both = draw_mix(Mix(mixup=0.4, cutmix=1.0), 4_000, stream(0, "mix"))
    assert abs(both.cut.mean().item() - 0.5) < 0.04
    assert stats.kstest(both.share[both.cut > 0].numpy(), "uniform").pvalue > 0.01


def test_an_epoch_from_its_middle_is_the_rest_of_it() -> None:
    def batches() -> Batches:
        return Batches(
            images=torch.randint(0, 256, (20, 3, 4, 4), generator=stream(0, "trial")).to(torch.uint8),
            labels=torch.arange(20) % 3,
            mean=(0.5,) * 3,
            std=(0.2,) * 3,
            batch_size=6,
            mix=Mix(mixup=0.3, cutmix=0.5),
            mix_generator=stream(0, "mix"),
            classes=3,
        )

    whole, rest = list(batches()), list(batches().epoch(2))
    assert len(whole) == 4 and len(rest) == 2
    for (images, labels), (later, truth) in zip(whole[2:], rest, strict=True):
        assert torch.equal(images, later) and torch.equal(labels, truth)
        np.testing.assert_allclose(labels.sum(dim=1), 1, rtol=1e-6)


def test_what_is_missing_for_it_is_said() -> None:
    with pytest.raises(DataError, match="mix needs a mix_generator and the number of classes"):
        Batches(
            images=torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
            labels=torch.zeros(2, dtype=torch.int64),
            mean=(0.5,) * 3,
            std=(0.2,) * 3,
            mix=Mix(mixup=1.0),
        )
