import jaxtyping
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tiebreak.data.dataset import channel_statistics, make_dataset
from tiebreak.data.facts import few_val_images
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
        (broken(1, torch.zeros(8, dtype=torch.int64)), ("a",), "needs at least 2 classes, got 1"),
        (arrays(), ("a", "a"), "class_names must be texts, each one once, got 'a', 'a'"),
        (arrays(), ("a", 1), "class_names must be texts"),
        (
            broken(0, torch.zeros(8, 3, 5, 5)),
            ("a", "b"),
            r"got torch.Tensor of torch.float32, shape \(8, 3, 5, 5\)",
        ),
        (
            broken(0, torch.zeros(8, 5, 5, dtype=torch.uint8)),
            ("a", "b"),
            r"of torch.uint8, shape \(8, 5, 5\)\. From",
        ),
        (
            [torch.zeros(8, 5, 5, 3, dtype=torch.uint8), *arrays()[1:]],
            ("a", "b"),
            r"shape \(8, 5, 5, 3\), expected \(N, C, H, W\) .* images.permute\(0, 3, 1, 2\) puts",
        ),
        (broken(2, arrays()[2].numpy()), ("a", "b"), r"numpy.ndarray of uint8, .* torch.from_numpy\(x\)"),
        (broken(0, DataLoader([1])), ("a", "b"), "got torch.utils.data.dataloader.DataLoader"),
        (broken(0, DataLoader), ("a", "b"), "got type"),
        (
            broken(1, arrays()[1].int()),
            ("a", "b"),
            r"int64 tensor .*, got torch.Tensor of torch.int32.* y.long\(\)",
        ),
        (broken(3, arrays()[3].double()), ("a", "b"), "the test labels must be an int64 tensor"),
        (broken(3, arrays()[3].tolist()), ("a", "b"), "the test labels must be .* got list"),
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
    with pytest.raises(DataError, match=message) as e:
        build(parts, names)
    assert len(str(e.value).splitlines()) == 1


def test_a_part_is_a_sequence():
    part = build(arrays()).train
    for position in (-1, -8):
        image, label = part[position]
        expected, expected_label = part[position + 8]
        assert torch.equal(image, expected) and label == expected_label
    for position in (8, -9):
        with pytest.raises(IndexError, match=f"image {position} of 8"):
            part[position]


def test_a_validation_part_of_its_own_is_that_of_every_seed():
    plain, own = build(arrays()), make_dataset("toy", *arrays(), class_names=("a", "b"), own_val=3)
    for seed in range(3):
        train, val = own.split(3, seed=seed)
        assert train.indices.tolist() == [0, 1, 2, 3, 4] and val.indices.tolist() == [5, 6, 7]
    assert own.val_size() == own.val_size(3) == 3 and plain.val_size() == 1 and plain.val_size(5) == 5
    assert own.fingerprint != plain.fingerprint
    with pytest.raises(
        DataError, match=r"toy has a validation part of 3 images, but val_size is 2\. Leave it out"
    ):
        own.val_size(2)


def noted(train_labels, test_labels, names, test_images=None):
    """The notes of blank images but for their number."""
    images = torch.arange(len(train_labels) + len(test_labels), dtype=torch.uint8).view(-1, 1, 1, 1)
    train, test = images[: len(train_labels)], images[len(train_labels) :]
    parts = (
        train,
        torch.tensor(train_labels),
        test if test_images is None else test_images,
        torch.tensor(test_labels),
    )
    return make_dataset("toy", *parts, class_names=names).notes


def test_classes_without_images_are_told():
    assert noted([0, 1, 2], [0, 1, 0, 1], ("a", "b", "c")) == ("toy: the test part has no images of 'c'",)
    assert noted([0, 0], [0, 1], ("a", "b")) == ("toy: the training part has no images of 'b'",)


def test_a_majority_is_told():
    assert noted([0, 1], [0] * 19 + [1], ("a", "b")) == (
        "toy: 95% of the test images are of 'a': to answer only that scores 95%",
    )
    assert noted([0, 1], [0] * 11 + [1] * 9, ("a", "b")) == ()


def test_names_that_look_alike_are_told():
    names = ("Cat", "cat", " dog", "dog", "caf\u00e9", "cafe\u0301", "fox")
    assert noted(list(range(7)), list(range(7)), names) == tuple(
        f"toy: the classes {pair} differ only in case, spaces or Unicode form, and count as different"
        for pair in ("'Cat', 'cat'", "' dog', 'dog'", "'caf\u00e9', 'cafe\u0301'")
    )


def test_images_in_both_parts_are_counted():
    test_images = torch.tensor([7, 0, 0, 1], dtype=torch.uint8).view(-1, 1, 1, 1)
    assert noted([0, 1], [0, 1, 0, 1], ("a", "b"), test_images) == (
        "toy: 3 of 4 test images are in the training part too, pixel for pixel",
    )


def test_a_small_validation_part_is_told():
    assert few_val_images(100) == ()
    assert few_val_images(28) == (
        "28 validation images: too few to choose an epoch or a setting by (one is 3.6%)",
    )
