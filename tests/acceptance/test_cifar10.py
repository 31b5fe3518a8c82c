"""The case study on the real images: one epoch of both models, from the binary files and from a folder."""

import hashlib
import json

import pytest

from tiebreak.data.catalog import load_dataset

EPOCH = ("--seeds", 1, "--epochs", 1, "--json")


def test_from_the_binary_files(tiebreak, cifar10_binary_dir):
    data = ("--dataset", "cifar10", "--data-dir", cifar10_binary_dir, "--val-size", 5000)
    done = tiebreak("compare", "mlp", "cnn", *EPOCH, *data)
    assert done.status == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    # The case study after one epoch: MLP 0.47, CNN 0.59 on validation.
    assert 0.40 < answer["contenders"]["mlp"]["val_acc"]["mean"] < 0.50
    assert 0.53 < answer["contenders"]["cnn"]["val_acc"]["mean"] < 0.66
    assert answer["contenders"]["mlp"]["params"] == 1_578_506
    assert answer["contenders"]["cnn"]["params"] == 60_362
    [pair] = answer["comparisons"]  # one seed decides nothing
    assert (pair["a"], pair["b"], pair["verdict"]) == ("cnn", "mlp", "undecided")
    assert not answer["data"]["verified"]
    assert "unverified data" in done.stderr


def test_from_a_folder_of_images(tiebreak, cifar10_folder_dir, cifar10_binary_dir):
    """Decoded once, as the cache keeps what was prepared: the very pixels of the binary files."""
    done = tiebreak("compare", "mlp", "linear", *EPOCH, "--dataset", f"folder:{cifar10_folder_dir}")
    assert done.status == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert 0.40 < answer["contenders"]["mlp"]["val_acc"]["mean"] < 0.50
    assert answer["data"]["verified"]
    folder, binary = (
        load_dataset(f"folder:{cifar10_folder_dir}"),
        load_dataset("cifar10", data_dir=cifar10_binary_dir),
    )
    assert folder.class_names == binary.class_names
    for of_folder, of_binary in ((folder.train, binary.train), (folder.test, binary.test)):
        ours, theirs = (
            sorted(hashlib.md5(image.numpy(), usedforsecurity=False).digest() for image in part.images)
            for part in (of_folder, of_binary)
        )
        assert ours == theirs


def test_channel_statistics_are_the_published_ones(cifar10_binary_dir):
    data = load_dataset("cifar10", data_dir=cifar10_binary_dir)
    assert len(data.train) == 50_000 and len(data.test) == 10_000 and not data.verified
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=5e-5)
    assert data.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=5e-5)
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
