import os

import numpy as np
import pytest
import torch
from picture_folder import DOUBLES, load, make, picture, png_that_announces
from PIL import Image

from tiebreak.data import memory
from tiebreak.errors import DataError


def test_reads_images_class_by_class(tmp_path):
    data = load(make(tmp_path / "pets"))
    assert data.name == "folder:pets" and data.class_names == ("cat", "dog") and data.notes == (DOUBLES,)
    assert data.train_labels.tolist() == [0] * 4 + [1] * 4 and data.image_shape == (3, 5, 6)
    assert np.array_equal(data.train_images[5].numpy(), np.asarray(picture(11)).transpose(2, 0, 1))


def test_all_grey_images_stay_one_channel_and_a_coloured_one_makes_all_rgb(tmp_path):
    make(tmp_path, mode="L")
    assert load(tmp_path).image_shape == (1, 5, 6)
    picture().save(tmp_path / "train" / "dog" / "9.png")
    data = load(tmp_path)
    assert data.image_shape == (3, 5, 6)
    assert (data.train_images[0, 0] == data.train_images[0, 2]).all()


def test_without_test_part_a_stratified_one_is_split_off_and_noted(tmp_path):
    data = load(make(tmp_path / "pets", parts=["train"], count=10), test_fraction=0.3)
    assert data.test_labels.bincount().tolist() == [3, 3] and len(data.train) == 14
    assert data.notes == (
        "folder:pets has no test part of its own: 6 of 20 images were split off (stratified, seed 0)",
    )


def test_resize_equals_pillows_bilinear(tmp_path):
    data = load(make(tmp_path), resize=3)
    expected = np.asarray(picture(0).resize((3, 3), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(data.train_images[0].numpy(), expected)


LITTER = {
    "train/.DS_Store": "'.DS_Store'",
    "train/cat/Thumbs.db": "'Thumbs.db'",
    "train/cat/Icon\r": r"'Icon\r'",
    "train/classes.txt": "'classes.txt'",
    "test/dog/notes": "'notes'",
    "train/.ipynb_checkpoints/0-checkpoint.png": "'.ipynb_checkpoints'",
    "train/__MACOSX/cat/._0.png": "'__MACOSX'",
    "train/cat/@eaDir/0.png": "'@eaDir'",
}


@pytest.mark.parametrize(("path", "shown"), LITTER.items())
def test_what_is_no_picture_is_left_out_and_named(tmp_path, path, shown):
    root = make(tmp_path / "pets")
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(b"hello")
    data = load(root)
    assert data.class_names == ("cat", "dog") and len(data.train) == len(data.test) == 8
    assert data.notes == (f"folder:pets: left out, as they are no pictures: {shown}", DOUBLES)


def test_a_picture_without_a_pictures_name_is_one(tmp_path):
    root = make(tmp_path / "pets")
    (root / "train/cat/0.png").rename(root / "train/cat/0")
    assert len(load(root).train) == 8


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Train", "validation", "TEST"), ("training", "Valid", "testing")],
)
def test_parts_are_known_by_several_names_and_val_is_used(tmp_path, train, val, test):
    data = load(make(tmp_path, parts=[train, val, test], count=2))
    assert len(data.train) == 8 and len(data.test) == 4 and data.val_size() == 4
    of_val = data.split(4, seed=3).val
    assert of_val.targets.tolist() == [0, 0, 1, 1] and of_val.indices.tolist() == [4, 5, 6, 7]


def test_without_a_test_part_none_of_the_validation_images_are_tested_on(tmp_path):
    make(tmp_path / "pets", parts=["train"], count=10)
    for name in ("cat", "dog"):
        (tmp_path / "pets/val" / name).mkdir(parents=True)
        picture(99, mode="RGB").save(tmp_path / "pets/val" / name / "0.png")
    data = load(tmp_path / "pets")
    assert (len(data.train), len(data.test), data.own_val) == (18, 4, 2)
    assert (data.train_images[-1] == data.train_images[-2]).all()
    assert "4 of 20 images were split off" in data.notes[0]


def test_a_part_that_becomes_another_is_read_anew(tmp_path):
    make(tmp_path, parts=["train", "val"], count=10)
    assert load(tmp_path).own_val == 20
    (tmp_path / "val").rename(tmp_path / "test")
    assert load(tmp_path).own_val == 0


def test_a_folder_that_is_no_part_is_named(tmp_path):
    make(tmp_path / "pets", parts=["train", "test", "extra"])
    assert load(tmp_path / "pets").notes == ("folder:pets: not used: 'extra'", DOUBLES)


def test_two_folders_for_one_part_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds Train and train: one of them must go|val and validation"):
        load(make(tmp_path, parts=["train", "val", "validation"]))


def test_classes_that_swap_their_names_are_read_anew(tmp_path):
    """Sizes and times of the files tell nothing here."""
    root = make(tmp_path, suffix=".bmp")
    for path in root.rglob("*.bmp"):
        os.utime(path, ns=(0, 0))
    before = load(root)
    for old, new in (("cat", "fox"), ("dog", "cat"), ("fox", "dog")):
        (root / "train" / old).rename(root / "train" / new)
    after = load(root)
    assert torch.equal(before.train_images[:4], after.train_images[4:])
    assert torch.equal(before.train_images[4:], after.train_images[:4])


def test_a_file_in_the_place_of_another_is_read_anew(tmp_path):
    """As a tool that keeps times copies it: same name, size and time of change."""
    root = make(tmp_path, suffix=".bmp")
    path = root / "train/cat/0.bmp"
    load(root)
    picture(77).save(tmp_path / "new.bmp")
    os.utime(tmp_path / "new.bmp", ns=(0, path.stat().st_mtime_ns))
    (tmp_path / "new.bmp").replace(path)
    assert np.array_equal(load(root).train_images[0].numpy(), np.asarray(picture(77)).transpose(2, 0, 1))


def test_large_photographs_are_refused_before_they_are_decoded(tmp_path):
    root = make(tmp_path)
    for part, height in (("train", 3_000), ("test", 2_999)):
        for path in (root / part).rglob("*.png"):
            path.write_bytes(png_that_announces(tmp_path, 4_000, height))  # 5 x 6 pixels, all told
    with pytest.raises(DataError, match=r"4000 x 3000 pixels, .* 4000 x 2999\. .* e\.g\. --resize 64\."):
        load(root)


def test_what_memory_cannot_hold_is_refused_with_a_size(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 2_000)
    root = make(tmp_path / "pets", count=3)  # 12 images of 90 bytes
    with pytest.raises(
        DataError, match=r"folder:pets: the images need .* more than half .* --resize 5 makes"
    ):
        load(root)
    assert load(root, resize=4).image_shape == (3, 4, 4)


def remove_tree(path):
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


LAYOUTS = {
    "no train": (lambda root: (root / "train").rename(root / "trained"), "has no folder train"),
    "one class": (
        lambda root: remove_tree(root / "train/dog"),
        "has 1 class folders, a classifier needs at least 2",
    ),
    "empty class": (lambda root: (root / "train/fox").mkdir(), "'train/fox/' holds no images"),
    "image beside classes": (lambda root: (root / "train/a.png").touch(), "'train/a.png' is no folder"),
    "folder in a class": (lambda root: (root / "train/cat/x").mkdir(), "'train/cat/x' is no plain file"),
    "pipe": (lambda root: os.mkfifo(root / "train/cat/x.png"), "'train/cat/x.png' is no plain file"),
    "class without pictures": (
        lambda root: [
            path.write_bytes(b"") or path.rename(path.with_suffix(""))
            for path in (root / "train/cat").iterdir()
        ],
        "no image of 'cat' can be trained on",
    ),
    "dangling link": (lambda root: (root / "train/cat/x.png").symlink_to("gone"), "is no plain file"),
    "class only in test": (
        lambda root: (root / "test/dog").rename(root / "test/dogs"),
        'no train/dogs. Did you mean "dog"',
    ),
    "other size": (
        lambda root: picture(size=(7, 7)).save(root / "test/dog/x.png"),
        "6 x 5 pixels, 'test/dog/x.png' 7 x 7. .*--resize 5",
    ),
    "unprintable class": (
        lambda root: (root / "train/cat").rename(root / "train/c\nt"),
        "has no train|cannot be printed",
    ),
}


@pytest.mark.parametrize(("change", "message"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_wrong_layout_is_one_line_that_says_where(tmp_path, change, message):
    change(make(tmp_path))
    with pytest.raises(DataError, match=message) as e:
        load(tmp_path)
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": 0}, "resize must be 1 to 4096 pixels, got 0"),
        ({"test_fraction": 1.0}, "test_fraction must lie between 0 and 1, got 1.0"),
    ],
)
def test_an_option_out_of_range_is_said(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        load(make(tmp_path, parts=["train"]), **options)
