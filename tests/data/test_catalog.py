import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from tiebreak.data.catalog import NAMED, dataset_names, load_dataset
from tiebreak.data.fashion_small import FINGERPRINT
from tiebreak.data.idx import FASHION_MNIST
from tiebreak.data.names import NAMES, dataset_name
from tiebreak.errors import DataError


def test_fashion_small_is_even_over_the_classes_and_verified():
    data = load_dataset("fashion-small")
    assert data.train_labels.bincount().tolist() == [1_000] * 10
    assert data.test_labels.bincount().tolist() == [200] * 10
    assert data.image_shape == (1, 28, 28) and data.class_names[9] == "Ankle boot"
    assert data.verified and data.notes == () and data.fingerprint == FINGERPRINT


@pytest.mark.skipif(not FASHION_MNIST.debian_folder.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_small_holds_images_of_the_originals_with_their_labels():
    small, whole = load_dataset("fashion-small"), load_dataset("fashion-mnist")
    for some, all_of_them in ((small.train, whole.train), (small.test, whole.test)):
        known = {
            (bytes(image.numpy()), int(label))
            for image, label in zip(all_of_them.images, all_of_them.labels, strict=True)
        }
        drawn = [
            (bytes(image.numpy()), int(label)) for image, label in zip(some.images, some.labels, strict=True)
        ]
        assert set(drawn) <= known and len(set(drawn)) > 0.999 * len(drawn)  # the originals repeat a few


def test_digits_are_scaled_and_a_stratified_test_part_split_off():
    data = load_dataset("digits")
    assert (len(data.train), len(data.test), data.image_shape) == (1_438, 359, (1, 8, 8))
    together = torch.cat([data.train_images, data.test_images]).double().sort(0).values
    original = torch.from_numpy(load_digits().images)[:, None].sort(0).values
    assert (together / 255 * 16 - original).abs().max() <= 0.5 * 16 / 255 + 1e-9
    assert "digits has no test part of its own: 359 of 1,797 images were split off" in data.notes[0]


def test_names_say_what_is_at_hand(own_cache):
    at_hand = {name: there for name, _, there in dataset_names()}
    assert at_hand["fashion-small"] and at_hand["digits"] and not at_hand["cifar10"]
    assert list(at_hand) == [*NAMED, "folder:PATH", "arrays:FILE.npz"]
    archive = own_cache / "downloads" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    with archive.open("wb") as file:
        file.truncate(170_498_071)
    assert {name: there for name, _, there in dataset_names()}["cifar10"]


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("CIFAR10", "cifar10"),
        ("CIFAR-10", "cifar10"),
        ("Fashion-MNIST", "fashion-mnist"),
        ("FashionMNIST", "fashion-mnist"),
        ("fashion_small", "fashion-small"),
        ("Shapes(cue='colour')", "shapes(cue='colour')"),
        ("Folder:My_Photos", "folder:My_Photos"),
        ("imagenet", "imagenet"),
        ("my:Data", "my:Data"),
        (Path("set.npz"), "arrays:set.npz"),
        (Path("/"), "folder:/"),
    ],
)
def test_a_name_is_known_however_it_is_spelt(spec, name):
    assert dataset_name(spec) == name


def test_every_name_has_a_source():
    assert list(NAMED) == list(NAMES)


def test_a_path_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    images = np.arange(8, dtype=np.uint8).reshape(4, 2, 1)
    np.savez(tmp_path / "set.npz", x_train=images, y_train=[0, 1] * 2, x_test=images + 9, y_test=[0, 1] * 2)
    expected = load_dataset(f"arrays:{tmp_path}/set.npz").fingerprint
    for spec in ("arrays:~/set.npz", Path("~/set.npz"), tmp_path / "set.npz"):
        assert load_dataset(spec).fingerprint == expected
    with pytest.raises(DataError, match=f"folder: {tmp_path} has no folder train"):
        load_dataset("folder:~")
    with pytest.raises(DataError, match=f"mnist: {tmp_path} holds no train-images"):
        load_dataset("mnist", data_dir=Path("~"))


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("cifar01", {}, r"Unknown data set 'cifar01'\. Did you mean \"cifar10\"\?"),
        ("imagenet", {}, r"Unknown data set 'imagenet'\. Known: .*cifar10.*folder:PATH"),
        ("", {}, "Unknown data set ''"),
        ("two\nlines", {}, r"Unknown data set 'two\\nlines'"),
        ("folder", {}, "folder: needs a path. Give it as folder:PATH"),
        ("arrays:", {}, "arrays: needs a path. Give it as arrays:FILE.npz"),
        ("folder:gone", {}, r"folder: there is no folder gone\. Give one that holds train/<class>"),
        ("fashion-small", {"data_dir": "."}, "takes no --data-dir; that is for cifar10, cifar100, mnist"),
        ("folder:x", {"data_dir": "."}, "folder:x takes no --data-dir"),
        ("cifar10", {"data_dir": "gone"}, "cifar10: --data-dir .*gone is no folder"),
        (
            "mnist",
            {"resize": 8},
            "mnist takes neither --resize nor --skip-bad-images; they are for folder:PATH",
        ),
        ("digits", {"skip_bad_images": True}, "digits takes neither --resize"),
        ("digits", {"test_fraction": 0.0}, "test_fraction must lie between 0 and 1, got 0.0"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, monkeypatch, spec, options, message):
    monkeypatch.chdir(tmp_path)
    if "data_dir" in options:
        options = options | {"data_dir": tmp_path / options["data_dir"]}
    with pytest.raises(DataError, match=message) as e:
        load_dataset(spec, **options)
    assert len(str(e.value).splitlines()) == 1


def test_what_only_some_data_sets_need_is_not_imported():
    program = (
        "import sys, tiebreak.data.catalog\n"
        "print([name for name in ('PIL', 'sklearn', 'httpx') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
