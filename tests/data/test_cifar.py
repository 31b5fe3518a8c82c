"""CIFAR files are made here from noise; the real images are read where they are at hand."""

import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import python_2
from tiebreak.data.catalog import load_dataset
from tiebreak.data.cifar import CIFAR10, CIFAR100, _read_binary, cifar_source
from tiebreak.errors import DataError

NAMES = [f"class{number}" for number in range(10)]


def small(cifar, count=6):
    """The same data set with `count` images a file, and the sums of such files."""
    layouts = {
        form: replace(
            layout,
            train=dict.fromkeys(layout.train, count),
            test=dict.fromkeys(layout.test, count),
        )
        for form, layout in (("pickled", cifar.pickled), ("binary", cifar.binary))
    }
    fewer = replace(cifar, **layouts)
    md5 = {
        name: hashlib.md5(content, usedforsecurity=False).hexdigest()
        for name, content in pickled_files(fewer).items()
    }
    return replace(fewer, pickled=replace(fewer.pickled, md5=md5))


def pixels(number, count=6):
    return np.random.default_rng(number).integers(0, 256, (count, 3_072), dtype=np.uint8)


def labels_of(number):
    return [(label + number) % 10 for label in range(6)]


def binary_files(cifar):
    layout = cifar.binary
    files = {}
    for number, name in enumerate([*layout.train, *layout.test]):
        labels = np.array(labels_of(number), np.uint8)[:, None]
        columns = [np.full((6, layout.label_bytes - 1), 7, np.uint8), labels, pixels(number)]
        files[name] = np.concatenate(columns, axis=1).tobytes()
    names = [f"class{number}" for number in range(cifar.num_classes)]
    return files | {layout.class_names: "\n".join(names).encode()}


def pickled_files(cifar):
    layout = cifar.pickled
    files = {}
    for number, name in enumerate([*layout.train, *layout.test]):
        batch = {"data": pixels(number), cifar.label_key: labels_of(number), "coarse_labels": [0] * 6}
        files[name] = python_2.dumps(batch)
    names = [f"class{number}" for number in range(cifar.num_classes)]
    return files | {layout.class_names: python_2.dumps({cifar.class_key: names})}


SMALL10, SMALL100 = small(CIFAR10), small(CIFAR100)


def write(folder, files):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def packed(folder, files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


FORMS = [
    (SMALL10, SMALL10.pickled, pickled_files),
    (SMALL10, SMALL10.binary, binary_files),
    (SMALL100, SMALL100.pickled, pickled_files),
    (SMALL100, SMALL100.binary, binary_files),
]


@pytest.mark.parametrize(("cifar", "layout", "files"), FORMS)
@pytest.mark.parametrize("where", ["below", "itself", "archive"])
def test_every_form_gives_the_same_data(tmp_path, cifar, layout, files, where):
    data_dir = tmp_path
    if where == "archive":
        (tmp_path / layout.archive).write_bytes(packed(layout.folder, files(cifar)))
    else:
        write(tmp_path / layout.folder, files(cifar))
        data_dir = tmp_path / layout.folder if where == "itself" else tmp_path
    data = cifar_source(cifar, data_dir).build()
    number = len(layout.train)
    expected = np.concatenate([pixels(batch) for batch in range(number)]).reshape(-1, 3, 32, 32)
    assert np.array_equal(data.train_images.numpy(), expected)
    assert data.test_labels.tolist() == labels_of(number)
    assert data.class_names[3] == "class3" and data.num_classes == cifar.num_classes
    unverified = f"unverified data: {cifar.name}, "
    assert data.verified == (layout is cifar.pickled)
    assert data.verified != any(note.startswith(unverified) for note in data.notes)


def test_an_archive_with_the_known_checksum_is_verified(tmp_path):
    content = packed("cifar-10-batches-bin", binary_files(SMALL10))
    digest = hashlib.sha256(content).hexdigest()
    known = replace(SMALL10, binary=replace(SMALL10.binary, archive_sha256=digest))
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(content)
    assert cifar_source(known, tmp_path).build().verified


def test_an_empty_folder_is_told_what_belongs_there(tmp_path):
    with pytest.raises(
        DataError, match=r"cifar10: .* holds none of cifar-10-batches-py, cifar-10-batches-bin"
    ):
        load_dataset("cifar10", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["data_batch_3.bin", "test_batch.bin", "batches.meta.txt"])
def test_a_missing_file_is_named(tmp_path, name):
    files = binary_files(SMALL10)
    del files[name]
    write(tmp_path / "cifar-10-batches-bin", files)
    with pytest.raises(DataError, match=f"cifar10: {name} is missing in .*cifar-10-batches-bin"):
        load_dataset("cifar10", data_dir=tmp_path)


def test_a_file_missing_in_an_archive_is_named(tmp_path):
    files = binary_files(SMALL10)
    del files["test_batch.bin"]
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(packed("cifar-10-batches-bin", files))
    with pytest.raises(DataError, match=r"test_batch\.bin is missing in cifar-10-binary\.tar\.gz"):
        cifar_source(SMALL10, tmp_path).build()


GOOD = binary_files(SMALL10)["data_batch_2.bin"]
BAD_BINARY = {
    "short": ("data_batch_2.bin", GOOD[:-1], "data_batch_2.bin has 18,437 bytes, expected 18,438"),
    "long": ("data_batch_2.bin", GOOD + b"x", "data_batch_2.bin has more than the 18,438 bytes"),
    "empty": ("data_batch_2.bin", b"", "data_batch_2.bin has 0 bytes, expected 18,438"),
    "label": ("data_batch_2.bin", b"\x0a" + GOOD[1:], "label 10 in data_batch_2.bin, expected 0 to 9"),
    "names": ("batches.meta.txt", b"cat dog", "batches.meta.txt must name 10 classes, found 2 names"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD_BINARY.values(), ids=BAD_BINARY)
def test_wrong_binary_files_are_one_line(tmp_path, name, content, message):
    write(tmp_path / "cifar-10-batches-bin", binary_files(SMALL10) | {name: content})
    with pytest.raises(DataError, match=message) as e:
        cifar_source(SMALL10, tmp_path).build()
    assert str(e.value).startswith("cifar10: ") and len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_a_pickled_file_that_is_not_official_is_refused(tmp_path, name):
    content = bytearray(pickled_files(SMALL10)[name])
    content[len(content) // 2] ^= 1
    write(tmp_path / "cifar-10-batches-py", pickled_files(SMALL10) | {name: bytes(content)})
    with pytest.raises(DataError, match=f"^{name}: not the official file") as e:
        cifar_source(SMALL10, tmp_path).build()
    assert len(str(e.value).splitlines()) == 1


def test_a_file_of_more_bytes_than_it_can_need_is_not_read(tmp_path):
    write(tmp_path / "cifar-10-batches-py", pickled_files(SMALL10) | {"batches.meta": bytes(100_001)})
    with pytest.raises(DataError, match=r"batches\.meta has more than the 100,000 bytes"):
        cifar_source(SMALL10, tmp_path).build()


@given(st.binary(max_size=200), st.integers(-2, 2), st.booleans())
def test_any_binary_batch_gives_arrays_or_a_data_error(head, extra, hundred):
    cifar = SMALL100 if hundred else SMALL10
    size = 6 * (cifar.binary.label_bytes + 3_072)
    content = (head + bytes(size))[: size + extra]
    try:
        images, labels = _read_binary(cifar, cifar.binary, "batch", 6, content)
    except DataError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert images.shape == (6, 3, 32, 32) and 0 <= labels.min() <= labels.max() < cifar.num_classes
