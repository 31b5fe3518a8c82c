import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tiebreak.data.augment import Augment, AugmentDraws, augment_batch, draw_augmentation
from tiebreak.data.batches import Batches


def pictures(count, height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


@given(st.integers(1, 8), st.integers(1, 7), st.integers(1, 7), st.integers(0, 3), st.integers(0, 2**31))
def test_equals_flip_pad_and_crop_of_one_image_at_a_time(count, height, width, crop, seed):
    images = pictures(count, height, width, seed)
    draws = draw_augmentation(Augment(flip=True, crop=crop), count, torch.Generator().manual_seed(seed))
    for image, result, flipped, down, right in zip(
        images,
        augment_batch(Augment(flip=True, crop=crop), images, draws),
        draws.flipped,
        draws.down,
        draws.right,
        strict=True,
    ):
        padded = F.pad(image.flip(2) if flipped else image, (crop,) * 4)
        top, left = crop - int(down), crop - int(right)
        assert torch.equal(result, padded[:, top : top + height, left : left + width])


def test_nothing_switched_on_leaves_images_alone():
    images = pictures(5, 4, 4, 0)
    draws = draw_augmentation(Augment(), 5, torch.Generator().manual_seed(0))
    assert torch.equal(augment_batch(Augment(), images, draws), images)


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


def test_alternately_every_image_is_seen_both_ways_in_two_epochs():
    images, order = pictures(40, 4, 4, 3), torch.Generator().manual_seed(1)
    batches = Batches(
        images=images,
        labels=torch.arange(40),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        batch_size=16,
        shuffle=True,
        generator=order,
        augment=Augment(flip=True),
        augment_generator=torch.Generator().manual_seed(2),
        first_flips=torch.rand(40, generator=torch.Generator().manual_seed(3)) < 0.5,
    )
    for epoch in (1, 3):
        seen = [{}, {}]
        for each, number in zip(seen, (epoch, epoch + 1), strict=True):
            for shown, labels in batches.epoch(0, number):
                each.update(zip(labels.tolist(), shown, strict=True))
        assert len(seen[0]) == 40
        assert all(torch.equal(seen[0][label].flip(2), seen[1][label]) for label in range(40))
        flipped = [
            not torch.equal((seen[0][label] * 255).round(), images[label].float()) for label in range(40)
        ]
        assert 5 < sum(flipped) < 35


def test_a_slice_of_draws_belongs_to_the_same_images():
    draws = draw_augmentation(Augment(flip=True, crop=1), 10, torch.Generator().manual_seed(2))
    part = draws[3:7]
    assert isinstance(part, AugmentDraws)
    assert torch.equal(part.down, draws.down[3:7]) and torch.equal(part.flipped, draws.flipped[3:7])


def drawn(augment: Augment, count: int, seed: int = 0) -> AugmentDraws:
    moves, changes = (torch.Generator().manual_seed(seed + number) for number in (0, 1))
    return draw_augmentation(augment, count, moves, changes)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 6), st.integers(0, 1_000))
def test_reflected_shifts_are_those_of_one_image_at_a_time(height, width, crop, seed):
    """Against NumPy's padding, which mirrors as often as it takes."""
    augment, images = Augment(crop=crop, pad="reflect"), pictures(3, height, width, seed)
    draws = drawn(augment, 3, seed)
    for image, result, down, right in zip(
        images, augment_batch(augment, images, draws), draws.down, draws.right, strict=True
    ):
        padded = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (crop, crop), (crop, crop)), mode="reflect"))
        top, left = crop - int(down), crop - int(right)
        assert torch.equal(result, padded[:, top : top + height, left : left + width])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(0, 1_000))
def test_cutout_takes_a_square_of_one_image_at_a_time(height, width, side, seed):
    augment, images = Augment(cutout=side), pictures(4, height, width, seed)
    draws = drawn(augment, 4, seed)
    assert draws.place is not None
    for image, result, place in zip(images, augment_batch(augment, images, draws), draws.place, strict=True):
        expected, mean = image.clone(), image.float().mean(dim=(1, 2)).round().to(torch.uint8)
        top, left = int(place[0] * height) - side // 2, int(place[1] * width) - side // 2
        for row in range(max(top, 0), min(top + side, height)):
            for column in range(max(left, 0), min(left + side, width)):
                expected[:, row, column] = mean
        assert torch.equal(result, expected)


def test_brightness_and_contrast_are_factors_about_zero_and_the_mean():
    augment, images = Augment(brightness=0.3, contrast=0.4), pictures(6, 5, 5, 3)
    draws = drawn(augment, 6)
    assert draws.brightness is not None and draws.contrast is not None
    assert (draws.brightness - 1).abs().max() <= 0.3 and (draws.contrast - 1).abs().max() <= 0.4
    for image, result, bright, contrast in zip(
        images, augment_batch(augment, images, draws), draws.brightness, draws.contrast, strict=True
    ):
        mean = image.float().mean()
        expected = (((image.float() - mean) * contrast + mean) * bright).round().clamp(0, 255)
        assert (result.float() - expected).abs().max() <= 1  # halves, rounded after sums in another order


def test_what_changes_pixels_has_a_stream_of_its_own():
    """Else contenders with and without it would not share flips and shifts."""
    moved, changed = drawn(Augment(flip=True, crop=3), 50), drawn(Augment(flip=True, crop=3, cutout=4), 50)
    assert torch.equal(moved.flipped, changed.flipped) and torch.equal(moved.down, changed.down)
    assert moved.place is None and changed.place is not None
