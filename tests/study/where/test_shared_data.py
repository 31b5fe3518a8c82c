"""Workers map the cache's own files, as long as these hold what the data set in memory holds."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tiebreak.data.catalog import load_dataset
from tiebreak.data.dataset import ImageDataset, arrays_of, facts_of
from tiebreak.study.where.shared_data import open_shared, remove_shared, share_data
from tiebreak.study.writing import data_facts


@pytest.fixture
def digits() -> ImageDataset:
    return load_dataset("digits")


def is_copied(data: ImageDataset) -> bool:
    """Whether the data set goes to workers in files of its own; it arrives whole in any case."""
    with share_data(data) as shared:
        arrived = open_shared(shared)
        assert facts_of(arrived) == facts_of(data)
        for name, array in arrays_of(data).items():
            assert torch.equal(getattr(arrived, name), torch.tensor(array))
        del arrived
    assert shared.folder.exists() != shared.temporary
    return shared.temporary


def test_an_entry_of_the_cache_is_shared_and_stays(digits: ImageDataset, own_cache: Path) -> None:
    assert digits.folder is not None and digits.folder.parent == own_cache / "prepared"
    assert not is_copied(digits)
    with share_data(digits) as shared:
        remove_shared(shared)
    assert not is_copied(load_dataset("digits"))


def test_what_was_changed_is_copied(digits: ImageDataset) -> None:
    assert is_copied(replace(digits, train_labels=digits.train_labels.flip(0)))
    assert is_copied(replace(digits, test_images=digits.test_images[:5], test_labels=digits.test_labels[:5]))
    digits.test_labels[:3] = 9
    assert is_copied(digits)


def test_what_the_cache_lost_is_copied(digits: ImageDataset) -> None:
    assert digits.folder is not None
    (digits.folder / "test_images.npy").unlink()
    assert is_copied(digits)


def test_a_process_that_is_left_alone_removes_a_copy(digits: ImageDataset) -> None:
    with share_data(replace(digits, folder=None)) as shared:
        remove_shared(shared)
        assert not shared.folder.exists()


def test_a_study_notes_a_small_validation_part(digits: ImageDataset) -> None:
    assert data_facts(digits, 100).notes == digits.notes
    few = "28 validation images: too few to choose an epoch or a setting by (one is 3.6%)"
    assert data_facts(digits, 28).notes == (*digits.notes, few)
