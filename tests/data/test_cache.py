import os
import shutil
import stat
from dataclasses import dataclass, field

import pytest
import torch

from tiebreak.data import cache
from tiebreak.data.cache import Source, files_identity, load_prepared
from tiebreak.data.dataset import ARRAYS, ImageDataset, facts_of, make_dataset


@dataclass
class Counted:
    """A source that counts how often it is built."""

    identity: str = "toy"
    builds: list[int] = field(default_factory=list)

    def build(self) -> ImageDataset:
        self.builds.append(1)
        images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)
        labels = torch.tensor([0, 1])
        return make_dataset(
            "toy", images, labels, images + 1, labels, class_names=("a", "b"), verified=False, notes=("n",)
        )

    def load(self):
        return load_prepared(Source(identity=self.identity, build=self.build))


def assert_same(a, b):
    for name in ARRAYS:
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert facts_of(a) == facts_of(b)


def entry(own_cache):
    (folder,) = (own_cache / "prepared").iterdir()
    return folder


def test_a_second_start_takes_the_prepared_arrays(own_cache):
    source = Counted()
    expected = source.build()
    assert_same(source.load(), expected)
    assert_same(source.load(), expected)
    assert len(source.builds) == 2  # one of them for `expected`
    assert sorted(path.name for path in entry(own_cache).iterdir()) == sorted(
        [*(f"{name}.npy" for name in ARRAYS), "meta.json"]
    )


def test_another_identity_is_another_entry():
    first, second = Counted(), Counted(identity="other")
    first.load()
    second.load()
    assert len(second.builds) == 1


def test_the_identity_of_files_tells_another_file_of_the_same_size_and_time(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.write_bytes(path.name[:2].encode())
        os.utime(path, ns=(0, 0))
    before = files_identity([one])
    assert files_identity([one]) == before
    other.replace(one)
    assert files_identity([one]) != before
    before = files_identity([one])
    one.write_bytes(b"xy")
    os.utime(one, ns=(0, 0))
    assert files_identity([one]) != before


def test_writing_to_the_arrays_leaves_the_files_alone():
    source = Counted()
    source.load().train_images.zero_()
    assert_same(source.load(), source.build())


def cut(folder):
    content = (folder / "train_images.npy").read_bytes()
    (folder / "train_images.npy").write_bytes(content[:-1])


def flip_a_bit(folder):
    content = bytearray((folder / "test_images.npy").read_bytes())
    content[-1] ^= 1
    (folder / "test_images.npy").write_bytes(content)


def swap(folder):
    shutil.copy(folder / "train_images.npy", folder / "train_labels.npy")


DAMAGES = {
    "array cut short": cut,
    "array with a flipped bit": flip_a_bit,
    "array of another kind": swap,
    "array empty": lambda folder: (folder / "test_labels.npy").write_bytes(b""),
    "meta cut short": lambda folder: (folder / "meta.json").write_text('{"format": 1'),
    "meta empty": lambda folder: (folder / "meta.json").write_bytes(b""),
    "meta without fields": lambda folder: (folder / "meta.json").write_text("{}"),
    "meta without checksums": lambda folder: (folder / "meta.json").write_text(
        (folder / "meta.json").read_text().replace('"train_images"', '"other"')
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_said_and_made_again(own_cache, caplog, damage):
    source = Counted()
    source.load()
    damage(entry(own_cache))
    assert_same(source.load(), source.build())
    assert "is damaged" in caplog.text
    caplog.clear()
    source.load()
    assert len(source.builds) == 3 and caplog.text == ""


@pytest.mark.parametrize("name", ["train_images.npy", "meta.json"])
def test_a_missing_file_is_made_again(own_cache, name):
    source = Counted()
    source.load()
    (entry(own_cache) / name).unlink()
    source.load()
    source.load()
    assert len(source.builds) == 2


def test_a_cache_that_cannot_be_written_is_said_and_memory_used(own_cache, caplog):
    (own_cache / "prepared").write_text("a file in the way")
    source = Counted()
    assert_same(source.load(), source.build())
    assert "could not be kept in" in caplog.text and "Set TIEBREAK_CACHE to a folder" in caplog.text


def test_a_write_that_fails_midway_leaves_nothing(own_cache, caplog, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_put_in_place", full)
    assert_same(Counted().load(), Counted().build())
    assert "No space left on device" in caplog.text
    assert list((own_cache / "prepared").iterdir()) == []


def test_what_a_killed_process_left_is_removed_after_a_day(own_cache, monkeypatch):
    left = own_cache / "prepared" / "unfinished-x"
    left.mkdir(parents=True)
    Counted(identity="early").load()
    assert left.exists()
    monkeypatch.setattr(cache, "UNFINISHED_KEPT", -1.0)
    Counted(identity="late").load()
    assert not left.exists()


def test_an_entry_belongs_to_its_user_alone(own_cache):
    Counted().load()
    assert stat.S_IMODE(entry(own_cache).stat().st_mode) & 0o077 == 0
