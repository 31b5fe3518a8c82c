import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tiebreak.data.augment import Augment, AugmentDraws, augment_batch, draw_augmentation


def pictures(count, height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


@given(st.integers(1, 8), st.integers(1, 7), st.integers(1, 7), st.integers(0, 3), st.integers(0, 2**31))
def test_equals_flip_pad_and_crop_of_one_image_at_a_time(count, height, width, crop, seed):
    images = pictures(count, height, width, seed)
    draws = draw_augmentation(Augment(flip=True, crop=crop), count, torch.Generator().manual_seed(seed))
    for image, result, flipped, down, right in zip(
        images, augment_batch(images, draws), draws.flipped, draws.down, draws.right, strict=True
    ):
        padded = F.pad(image.flip(2) if flipped else image, (crop,) * 4)
        top, left = crop - int(down), crop - int(right)
        assert torch.equal(result, padded[:, top : top + height, left : left + width])


def test_nothing_switched_on_leaves_images_alone():
    images = pictures(5, 4, 4, 0)
    draws = draw_augmentation(Augment(), 5, torch.Generator().manual_seed(0))
    assert torch.equal(augment_batch(images, draws), images)


def test_half_of_the_images_are_flipped_and_shifts_are_even():
    draws = draw_augmentation(Augment(flip=True, crop=2), 20_000, torch.Generator().manual_seed(1))
    # Five standard errors of a share of 1/2 and of 1/5 in 20,000 draws.
    assert abs(draws.flipped.double().mean() - 0.5) < 0.018
    for shifts in (draws.down, draws.right):
        shares = torch.bincount(shifts + 2, minlength=5) / 20_000
        assert len(shares) == 5 and (shares - 0.2).abs().max() < 0.015


def test_flips_are_the_same_whether_or_not_crops_are_on():
    with_crop, without = (
        draw_augmentation(Augment(flip=True, crop=crop), 50, torch.Generator().manual_seed(4))
        for crop in (4, 0)
    )
    assert torch.equal(with_crop.flipped, without.flipped)


def test_a_slice_of_draws_belongs_to_the_same_images():
    draws = draw_augmentation(Augment(flip=True, crop=1), 10, torch.Generator().manual_seed(2))
    part = draws[3:7]
    assert isinstance(part, AugmentDraws)
    assert torch.equal(part.down, draws.down[3:7]) and torch.equal(part.flipped, draws.flipped[3:7])
