import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset, random_split

from tiebreak.data.split import split_indices
from tiebreak.errors import DataError

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def labels_and_size(draw):
    labels = torch.tensor(draw(st.lists(st.integers(0, 6), min_size=2, max_size=200)))
    return labels, draw(st.integers(1, len(labels) - 1))


@given(labels_and_size(), SEEDS, st.booleans())
def test_is_a_partition_of_the_asked_size(case, seed, stratify):
    labels, size = case
    train, val = split_indices(labels, size, seed, stratify)
    assert len(val) == size
    assert sorted(torch.cat([train, val]).tolist()) == list(range(len(labels)))


@given(labels_and_size(), SEEDS)
def test_stratified_gives_each_class_its_share_to_the_nearest_image(case, seed):
    labels, size = case
    _, val = split_indices(labels, size, seed)
    share = torch.bincount(labels).double() * size / len(labels)
    taken = torch.bincount(labels[val], minlength=len(share))
    assert ((taken - share).abs() < 1).all()


@given(labels_and_size(), SEEDS, st.booleans())
def test_the_seed_decides(case, seed, stratify):
    labels, size = case
    first, second = (split_indices(labels, size, seed, stratify) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_another_seed_gives_another_split():
    labels = torch.arange(1_000) % 10
    assert not torch.equal(split_indices(labels, 100, 1)[1], split_indices(labels, 100, 2)[1])


@given(labels_and_size(), SEEDS)
def test_unstratified_equals_random_split(case, seed):
    labels, size = case
    generator = torch.Generator().manual_seed(seed)
    expected = random_split(TensorDataset(labels), [len(labels) - size, size], generator=generator)
    parts = split_indices(labels, size, seed, stratify=False)
    assert [part.tolist() for part in parts] == [list(subset.indices) for subset in expected]


@pytest.mark.parametrize("size", [0, -1, 5, 6])
def test_refuses_a_size_that_leaves_a_part_empty(size):
    with pytest.raises(DataError, match=f"at least 1 and below the 5 training images, got {size}"):
        split_indices(torch.zeros(5, dtype=torch.int64), size, 0)
