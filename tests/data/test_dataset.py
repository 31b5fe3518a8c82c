import jaxtyping
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tiebreak.data.dataset import channel_statistics, make_dataset
from tiebreak.errors import DataError


def arrays(train=8, test=4, channels=3, size=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(
        0, 256, (train + test, channels, size, size), dtype=torch.uint8, generator=generator
    )
    labels = torch.arange(train + test) % 2
    return [images[:train], labels[:train], images[train:], labels[train:]]


def build(parts, names=("a", "b")):
    return make_dataset("toy", *parts, class_names=names)


@given(st.integers(1, 1_500), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**31))
def test_statistics_equal_those_of_double_precision(count, channels, size, seed):
    images = arrays(count, 1, channels, size, seed)[0]
    mean, std = channel_statistics(images)
    pixels = images.double() / 255
    torch.testing.assert_close(torch.tensor(mean), pixels.mean((0, 2, 3)).float())
    expected = pixels.std((0, 2, 3), unbiased=False)
    torch.testing.assert_close(torch.tensor(std), torch.where(expected > 0, expected, 1.0).float())


def test_fingerprint_depends_on_every_part():
    plain = build(arrays()).fingerprint
    assert build(arrays()).fingerprint == plain
    changed = []
    for position in range(4):
        parts = arrays()
        parts[position] = parts[position].clone()
        parts[position].view(-1)[0] = 1 - parts[position].view(-1)[0]
        changed.append(build(parts).fingerprint)
    changed.append(build(arrays(), names=("a", "c")).fingerprint)
    assert len({plain, *changed}) == 6


def test_a_plain_data_loader_gives_what_batches_give():
    part = build(arrays()).split(2, seed=0).train
    loader = DataLoader(part, batch_size=3, generator=torch.Generator().manual_seed(0))
    for (images, labels), (expected, expected_labels) in zip(loader, part.batches(3), strict=True):
        torch.testing.assert_close(images, expected)
        assert torch.equal(labels, expected_labels)


def test_split_shares_memory_and_divides_the_training_part():
    data = build(arrays())
    train, val = data.split(3, seed=5)
    assert (len(train), len(val)) == (5, 3)
    assert train.images.data_ptr() == data.train_images.data_ptr()


def broken(position, value):
    parts = arrays()
    parts[position] = value
    return parts


@pytest.mark.parametrize(
    ("parts", "names", "message"),
    [
        (arrays(train=0), ("a", "b"), "the training part has no images"),
        (broken(1, torch.zeros(7, dtype=torch.int64)), ("a", "b"), "has 8 images but 7 labels"),
        (broken(3, torch.full((4,), 2)), ("a", "b"), "label 2 in the test part, but there are 2 classes"),
        (broken(1, torch.full((8,), -1)), ("a", "b"), "label -1 in the training part"),
        (broken(1, torch.zeros(8, dtype=torch.int64)), ("a",), "label 1 in the test part, but there are 1"),
        (
            broken(2, arrays(size=6)[2]),
            ("a", "b"),
            r"differ in shape \(C, H, W\): \(3, 5, 5\) and \(3, 6, 6\)",
        ),
    ],
)
def test_refuses_arrays_that_do_not_fit(parts, names, message, monkeypatch):
    # Users have no shape checks, which would complain first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(DataError, match=message):
        build(parts, names)
