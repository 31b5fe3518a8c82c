import gzip
import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.data.catalog import load_dataset
from tiebreak.data.idx import FASHION_MNIST, FILES, MNIST, idx_source, read_idx
from tiebreak.errors import DataError


def idx(array, magic=b"\0\0\x08"):
    return magic + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def contents():
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (count, 5, 4), dtype=np.uint8) for count in (30, 20)]
    labels = [np.arange(count, dtype=np.uint8) % 10 for count in (30, 20)]
    return [idx(array) for array in (images[0], labels[0], images[1], labels[1])]


def write(folder, files=None, pack=bytes, suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(FILES, files or contents(), strict=True):
        (folder / f"{name}{suffix}").write_bytes(pack(content))
    return folder


@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (gzip.compress, ".gz")])
@pytest.mark.parametrize("below", ["", "MNIST/raw"])
def test_reads_plain_and_packed_files(tmp_path, pack, suffix, below):
    write(tmp_path / below, pack=pack, suffix=suffix)
    data = load_dataset("mnist", data_dir=tmp_path)
    expected = np.frombuffer(contents()[0], np.uint8, offset=16).reshape(30, 1, 5, 4)
    assert np.array_equal(data.train_images.numpy(), expected)
    assert data.test_images.shape == (20, 1, 5, 4) and data.train_labels.dtype == torch.int64
    assert not data.verified and data.notes == (
        "unverified data: mnist, the files differ from the official ones",
    )


def test_files_of_the_right_content_are_verified(tmp_path):
    digests = tuple(hashlib.sha256(content).hexdigest() for content in contents())
    known = replace(MNIST, sha256=digests)
    data = idx_source(known, write(tmp_path, pack=gzip.compress, suffix=".gz")).build()
    assert data.verified and data.notes == ()


@pytest.mark.skipif(not FASHION_MNIST.debian_folder.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_debians_fashion_mnist_is_the_official_one():
    data = load_dataset("fashion-mnist")
    assert data.verified and data.train_images.shape == (60_000, 1, 28, 28) and len(data.test) == 10_000
    assert data.mean == pytest.approx((0.2860,), abs=5e-5) and data.std == pytest.approx((0.3530,), abs=5e-5)


BYTES = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
MALFORMED = {
    "empty": (b"", "starts with , expected 00000803"),
    "web page": (b"<html></html>xxxx", "starts with 3c68746d, expected 00000803"),
    "labels for images": (idx(BYTES[0, 0]) + bytes(30), "starts with 00000801, expected 00000803"),
    "of floats": (idx(BYTES, b"\0\0\x0d"), "starts with 00000d03"),
    "header cut": (idx(BYTES)[:9], "starts with 00000803"),
    "cut short": (idx(BYTES)[:-1], "announces 24 bytes of content, found 23"),
    "too long": (idx(BYTES) + b"x", "announces 24 bytes of content, found more"),
    "huge": (b"\0\0\x08\x03" + b"\xff" * 12, "expected 1 to 16"),
    "small and packed, announcing 2 GB": (
        gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 2**21, 32, 32)),
        "announces 2,147,483,648 bytes, expected 1 to",
    ),
    "more than the format can need": (
        gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 2**19, 32, 32) + bytes(2**20), 0),
        "announces 536,870,912 bytes, expected 1 to 268,435,456",
    ),
    "no images": (idx(BYTES[:0]), "announces 0 bytes"),
    "gzip cut short": (gzip.compress(idx(BYTES))[:-9], "damaged gzip file"),
    "gzip of nothing": (b"\x1f\x8b", "damaged gzip file"),
    "gzip with a wrong checksum": (gzip.compress(idx(BYTES))[:-8] + bytes(8), "damaged gzip file"),
    "gzip bomb": (gzip.compress(idx(BYTES) + bytes(10_000_000)), "announces 24 bytes of content, found more"),
}


@pytest.mark.parametrize(("content", "message"), MALFORMED.values(), ids=MALFORMED)
def test_refuses_in_one_line_that_names_the_file(tmp_path, content, message):
    path = tmp_path / FILES[0]
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as e:
        read_idx(path, 3)
    assert str(e.value).startswith(f"{FILES[0]}: ") and len(str(e.value).splitlines()) == 1


def test_a_missing_file_is_named(tmp_path):
    (write(tmp_path) / FILES[3]).unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte \(or \.gz\) is missing in"):
        load_dataset("mnist", data_dir=tmp_path)


def test_a_folder_without_any_is_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no train-images-idx3-ubyte \(or \.gz\)"):
        load_dataset("mnist", data_dir=tmp_path)


def test_a_label_without_class_is_named(tmp_path):
    files = contents()
    files[1] = files[1][:-1] + b"\x0a"
    with pytest.raises(DataError, match="mnist: label 10 in the training part, but there are 10 classes"):
        load_dataset("mnist", data_dir=write(tmp_path, files))


@given(st.binary(max_size=60), st.booleans(), st.integers(0, 40), st.integers(0, 255), st.booleans())
def test_any_content_gives_an_array_or_a_data_error(tmp_path: Path, noise, mutate, position, byte, pack):
    content = bytearray(idx(BYTES)) if mutate else bytearray(b"\0\0\x08\x03" + noise)
    content[position % len(content)] = byte
    (tmp_path / "file").write_bytes(gzip.compress(content) if pack else bytes(content))
    try:
        array = read_idx(tmp_path / "file", 3)
    except DataError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert array.ndim == 3 and array.dtype == np.uint8
