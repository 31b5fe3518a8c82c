"""MNIST and Fashion-MNIST as IDX files.

The format is described at http://yann.lecun.com/exdb/mnist: a magic number, the dimensions as
big-endian 32-bit integers, and the bytes. Files are checked by the SHA-256 of what they unpack to,
since distributions compress them anew.
"""

import gzip
import hashlib
import struct
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tiebreak.data.cache import Source, files_identity
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.data.fetch import Progress, RemoteFile, fetch_file
from tiebreak.data.memory import INFLATION
from tiebreak.errors import DataError
from tiebreak.files import cache_root

LARGEST = 2**28  # bytes in one file: 5 times MNIST
UNSIGNED_BYTE = 8  # the code of the element type in the magic number
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True, kw_only=True)
class IdxSet:
    """One data set of four IDX files."""

    name: str
    torchvision_folder: str
    debian_folder: Path
    class_names: tuple[str, ...]
    sha256: tuple[str, str, str, str]  # of the files unpacked, in the order of FILES
    remote: tuple[RemoteFile, ...]


def _remote(
    sizes: tuple[int, ...], sha256: tuple[str, ...], mirrors: tuple[str, ...]
) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(
            name=f"{name}.gz",
            size=size,
            sha256=digest,
            urls=tuple(f"{mirror}{name}.gz" for mirror in mirrors),
        )
        for name, size, digest in zip(FILES, sizes, sha256, strict=True)
    )


MNIST = IdxSet(
    name="mnist",
    torchvision_folder="MNIST/raw",
    debian_folder=Path("/usr/share/datasets/mnist"),
    class_names=tuple(str(digit) for digit in range(10)),
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    remote=_remote(
        sizes=(9_912_422, 28_881, 1_648_877, 4_542),
        sha256=(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
)

FASHION_MNIST = IdxSet(
    name="fashion-mnist",
    torchvision_folder="FashionMNIST/raw",
    debian_folder=Path("/usr/share/datasets/fashion-mnist"),
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    sha256=(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    remote=_remote(
        sizes=(26_421_880, 29_515, 4_422_102, 5_148),
        sha256=(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        mirrors=(
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
    ),
)


def idx_source(idx: IdxSet, data_dir: Path | None, progress: Progress | None = None) -> Source:
    """The data set from the four IDX files, plain or as .gz.

    They are looked for in `data_dir`, or, without one, where Debian's package puts them; else they are
    downloaded.

    Raises: DataError if `data_dir` lacks one of them.
    """
    folders = [idx.debian_folder] if data_dir is None else [data_dir, data_dir / idx.torchvision_folder]
    for folder in folders:
        paths = [_present(folder, name) for name in FILES]
        present = [path for path in paths if path]
        if len(present) == len(FILES):
            return _files_source(idx, present)
        if data_dir is not None and present:
            missing = FILES[paths.index(None)]
            raise DataError(f"{idx.name}: {missing} (or .gz) is missing in {folder}.")
    if data_dir is not None:
        raise DataError(
            f"{idx.name}: {data_dir} holds no {FILES[0]} (or .gz). Name the folder of the four IDX files."
        )
    return Source(
        identity=f"{idx.name} official {' '.join(idx.sha256)}",
        build=lambda: _from_files(idx, fetch_idx(idx, progress)),
    )


def _files_source(idx: IdxSet, paths: list[Path]) -> Source:
    return Source(identity=f"{idx.name} {files_identity(paths)}", build=lambda: _from_files(idx, paths))


def is_installed(idx: IdxSet) -> bool:
    """Whether Debian's package is there."""
    return all(_present(idx.debian_folder, name) for name in FILES)


def _present(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def fetch_idx(idx: IdxSet, progress: Progress | None = None) -> list[Path]:
    """The four files in the cache, downloaded where they are missing. Raises: DataError."""
    return [fetch_file(file, cache_root() / "downloads" / idx.name, progress=progress) for file in idx.remote]


def _from_files(idx: IdxSet, paths: list[Path]) -> ImageDataset:
    arrays = [read_idx(path, dimensions) for path, dimensions in zip(paths, (3, 1, 3, 1), strict=True)]
    official = all(_content_sha256(array) == digest for array, digest in zip(arrays, idx.sha256, strict=True))
    train_images, train_labels, test_images, test_labels = (torch.tensor(array) for array in arrays)
    return make_dataset(
        idx.name,
        train_images[:, None],
        train_labels.to(torch.int64),
        test_images[:, None],
        test_labels.to(torch.int64),
        class_names=idx.class_names,
        verified=official,
        notes=() if official else (f"unverified data: {idx.name}, the files differ from the official ones",),
    )


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of bytes in an IDX file, which may be compressed by gzip.

    Raises: DataError if it is damaged, of another element type or number of dimensions, or too large.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            header = stream.read(4 + 4 * dimensions)
            expected = (0, 0, UNSIGNED_BYTE, dimensions)
            if len(header) < 4 + 4 * dimensions or tuple(header[:4]) != expected:
                raise DataError(
                    f"{path.name}: starts with {header[:4].hex()}, expected {bytes(expected).hex()} "
                    f"(an IDX file of bytes in {dimensions} dimensions)."
                )
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = prod(shape)
            largest = min(LARGEST, path.stat().st_size * (INFLATION if packed else 1))
            if not 0 < size <= largest:
                raise DataError(f"{path.name}: announces {size:,} bytes, expected 1 to {largest:,}.")
            content = stream.read(size + 1)
    except OSError as error:
        if error.errno is not None:
            raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
        raise DataError(f"{path.name}: damaged gzip file. Delete it and get it again.") from None
    except (EOFError, zlib.error):
        raise DataError(f"{path.name}: damaged gzip file. Delete it and get it again.") from None
    if len(content) != size:
        found = f"{len(content):,}" if len(content) < size else "more"
        raise DataError(f"{path.name}: announces {size:,} bytes of content, found {found}.")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _content_sha256(array: NDArray[np.uint8]) -> str:
    header = bytes((0, 0, UNSIGNED_BYTE, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return hashlib.sha256(header + array.tobytes()).hexdigest()
