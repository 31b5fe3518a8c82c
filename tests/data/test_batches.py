from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tiebreak.data.augment import Augment
from tiebreak.data.batches import Batches
from tiebreak.errors import DataError


def numbered(count, **options):
    """Batches of images that each show their own number, so that labels tell which came."""
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4).contiguous()
    return Batches(images=images, labels=torch.arange(count), mean=(0.0,), std=(1.0,), **options)


def shuffled(count, batch_size, seed, augment=None):
    """Batches whose generators are at their start."""
    return numbered(
        count,
        batch_size=batch_size,
        shuffle=True,
        generator=torch.Generator().manual_seed(seed),
        augment=augment,
        augment_generator=torch.Generator().manual_seed(seed + 1),
    )


COUNTS, SIZES, SEEDS = st.integers(1, 200), st.integers(1, 64), st.integers(0, 2**31)


def test_the_first_epochs_show_smaller_images_as_pillow_scales_them():
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 3, 12, 16), generator=random).to(torch.uint8)
    plain = Batches(
        images=images, labels=torch.arange(6), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1), batch_size=4
    )
    small = replace(plain, small=(9, 12), small_epochs=2)
    for number in (1, 2, 3):
        for (shown, _), (whole, _) in zip(small.epoch(0, number), plain, strict=True):
            assert shown.shape[2:] == ((9, 12) if number < 3 else (12, 16))
            if number == 3:
                assert torch.equal(shown, whole)
                continue
            for one, other in zip(shown.flatten(0, 1), whole.flatten(0, 1), strict=True):
                scaled = Image.fromarray(other.numpy()).resize((12, 9), Image.Resampling.BILINEAR)
                torch.testing.assert_close(one, torch.from_numpy(np.array(scaled)), rtol=1e-4, atol=1e-5)


@given(COUNTS, SIZES, SEEDS)
def test_every_image_comes_once_an_epoch_with_its_label(count, size, seed):
    batches = shuffled(count, size, seed)
    for _ in range(2):
        pairs = list(batches)
        assert len(pairs) == len(batches)
        labels = torch.cat([labels for _, labels in pairs])
        shown = torch.cat([images[:, 0, 0, 0] for images, _ in pairs])
        assert sorted(labels.tolist()) == list(range(count))
        torch.testing.assert_close(shown, labels / 255)


@given(COUNTS, SIZES, SEEDS, st.data())
def test_an_epoch_resumed_at_a_batch_goes_on_exactly(count, size, seed, data):
    augment = Augment(flip=True, crop=2)
    whole = list(shuffled(count, size, seed, augment))
    first = data.draw(st.integers(0, len(whole)))
    resumed = list(shuffled(count, size, seed, augment).epoch(first_batch=first))
    assert len(resumed) == len(whole) - first
    for (images, labels), (expected, expected_labels) in zip(resumed, whole[first:], strict=True):
        assert torch.equal(images, expected) and torch.equal(labels, expected_labels)


def test_the_next_epoch_has_another_order():
    batches = shuffled(100, 100, 3)
    (_, first), (_, second) = (*batches, *batches)
    assert not torch.equal(first, second)


def test_indices_choose_and_order_the_images():
    batches = numbered(10, indices=torch.tensor([7, 2, 5]), batch_size=2)
    assert [labels.tolist() for _, labels in batches] == [[7, 2], [5]]


def test_pixels_are_normalised():
    images = torch.randint(
        0, 256, (6, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    ((batch, _),) = Batches(
        images=images, labels=torch.zeros(6, dtype=torch.int64), mean=mean, std=std, batch_size=6
    )
    channels = (torch.tensor(values)[:, None, None] for values in (mean, std))
    centre, scale = channels
    torch.testing.assert_close(batch, (images / 255 - centre) / scale)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"shuffle": True}, "shuffle=True needs a generator"),
        ({"augment": Augment(flip=True)}, "augment needs an augment_generator"),
    ],
)
def test_refuses_what_cannot_work(options, message):
    with pytest.raises(DataError, match=message):
        numbered(3, **options)
