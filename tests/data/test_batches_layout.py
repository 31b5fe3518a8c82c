"""Batches in other number formats and memory layouts hold what the plain ones hold."""

from dataclasses import replace

import pytest
import torch

from tiebreak.data.augment import Augment
from tiebreak.data.batches import Batches


def make_batches(**settings) -> Batches:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (37, 3, 6, 5), dtype=torch.uint8, generator=generator)
    return Batches(
        images=images,
        labels=torch.randint(0, 4, (37,), generator=generator),
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.25, 0.3),
        batch_size=8,
        shuffle=True,
        generator=torch.Generator().manual_seed(1),
        **settings,
    )


@pytest.mark.parametrize("augment", [None, Augment(flip=True, crop=1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_layout_and_number_format_change_no_value(augment, dtype, channels_last):
    def drawn(**settings):
        augment_generator = torch.Generator().manual_seed(2)
        return list(make_batches(augment=augment, augment_generator=augment_generator, **settings))

    plain, other = drawn(), drawn(dtype=dtype, channels_last=channels_last)
    assert len(plain) == len(other) == 5
    for (images, labels), (same_images, same_labels) in zip(plain, other, strict=True):
        assert torch.equal(images.to(dtype), same_images)
        assert torch.equal(labels, same_labels)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        assert same_images.is_contiguous(memory_format=layout)


def test_pixels_are_normalised_as_torchvision_does_it():
    batches = replace(make_batches(), shuffle=False)
    images, _ = next(iter(batches))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (batches.mean, batches.std))
    torch.testing.assert_close(images, (batches.images[:8] / 255 - mean) / std)


@pytest.mark.parametrize("first_batch", [0, 2, 4])
def test_an_epoch_can_begin_anywhere(first_batch):
    settings = {"dtype": torch.bfloat16, "channels_last": True}
    whole = list(make_batches(**settings).epoch())
    rest = list(make_batches(**settings).epoch(first_batch))
    assert len(rest) == 5 - first_batch
    for (images, labels), (same_images, same_labels) in zip(whole[first_batch:], rest, strict=True):
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)
