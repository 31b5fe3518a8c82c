"""Further test parts for models that are trained already: newer or distorted images of the same classes.

CIFAR-10.1 (Recht et al. 2018, arXiv:1806.00451), CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv:1903.12261)
and ciFAIR-10 (Barz & Denzler 2020, arXiv:1902.00423: CIFAR-10's test images without near-duplicates of
training images) are read in the form in which they are published: NumPy arrays in .npy files, and a pickle
with a known checksum.

Shape letters: N images, C channels, H height, W width.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from tiebreak.calls import parse_call
from tiebreak.data.catalog import load_dataset
from tiebreak.data.cifar import SHAPE
from tiebreak.data.dataset import ImageDataset
from tiebreak.data.folder import read_classes
from tiebreak.data.names import NAMES, dataset_name
from tiebreak.data.unpickle import read_official_pickle
from tiebreak.errors import DataError, did_you_mean

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
SEVERITIES = range(1, 6)  # of CIFAR-10-C, 10,000 images each, one after another in a file
WHERE = {
    "cifar10.1": "https://github.com/modestyachts/CIFAR-10.1 (cifar10.1_v6_data.npy and _labels.npy)",
    "cifar10-c": "https://zenodo.org/records/2535967 (CIFAR-10-C.tar, unpacked)",
    "cifair10": "https://cvjena.github.io/cifair/ (ciFAIR-10.zip, unpacked)",
}
CIFAIR_MD5 = "01290e6b622a1977a000eff13650aca2"  # of ciFAIR-10/test_batch, as its authors publish it
LARGEST_BATCH = 64 * 2**20  # bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class TestPart:
    """Images that models are asked about, and the right answers."""

    __test__ = False  # pytest takes every class whose name begins so

    name: str
    images: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, " N"]
    class_names: tuple[str, ...]


def load_test_part(text: str, data_dir: Path | None = None, resize: int | None = None) -> TestPart:
    """The test images that a text names: `folder:PATH` (its folder test, or all of its classes), a data set
    or `arrays:FILE.npz` (its test part), `cifar10.1`, `cifair10`, or `cifar10-c(noise='fog', severity=3)`.

    `data_dir` holds the published files of the last three; `resize` is for a folder's images.

    Raises: DataError if the name is unknown, or files are missing or not what they should be.
    """
    if text.startswith(tuple(WHERE)):
        return _published(text, data_dir)
    name = dataset_name(text)
    if ":" not in name and name.partition("(")[0] not in NAMES:
        known = [*WHERE, "folder:PATH", "arrays:FILE.npz", "mnist"]
        raise DataError(f"also_test: unknown test images {text!r}. {did_you_mean(text, known)}")
    if name.startswith("folder:"):
        data = read_classes(Path(name.partition(":")[2]).expanduser(), resize)
        images = torch.cat([data.train_images, data.test_images])
        labels = torch.cat([data.train_labels, data.test_labels])
    else:
        data = load_dataset(name)
        images, labels = data.test_images, data.test_labels
    return TestPart(name=text, images=images, labels=labels, class_names=data.class_names)


def fit_to(part: TestPart, data: ImageDataset) -> TestPart:
    """The part with labels as the data set numbers its classes.

    Raises: DataError if its classes or the shape of its images are others.
    """
    shape = tuple(part.images.shape[1:])
    if shape != data.image_shape:
        raise DataError(
            f"{part.name}: images of (C, H, W) = {shape}, but the models take {data.image_shape}."
        )
    number = {name.casefold(): index for index, name in enumerate(data.class_names)}
    unknown = [name for name in part.class_names if name.casefold() not in number]
    if unknown:
        raise DataError(
            f"{part.name}: its class {unknown[0]!r} is none of {data.name}'s. "
            f"{did_you_mean(unknown[0], data.class_names)}"
        )
    renumbered = torch.tensor([number[name.casefold()] for name in part.class_names])
    return TestPart(
        name=part.name, images=part.images, labels=renumbered[part.labels], class_names=data.class_names
    )


def _published(text: str, data_dir: Path | None) -> TestPart:
    call = parse_call(text, DataError)
    folder = data_dir or Path()
    if call.name == "cifar10.1":
        images = _load(call.name, folder / "cifar10.1_v6_data.npy")
        labels = _load(call.name, folder / "cifar10.1_v6_labels.npy")
    elif call.name == "cifar10-c":
        images, labels = _distorted(call.name, folder, call.kwargs)
    elif call.name == "cifair10":
        images, labels = _fair(call.name, folder)
    else:
        raise DataError(f"also_test: unknown test images {text!r}. {did_you_mean(call.name, WHERE)}")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) != len(labels):
        raise DataError(
            f"{text}: expected uint8 images of shape (N, 32, 32, 3) and a label each, got {images.dtype}, "
            f"{images.shape} and {len(labels)} labels. They are at {WHERE[call.name]}."
        )
    if len(labels) == 0 or not 0 <= labels.min() <= labels.max() < len(CIFAR10_CLASSES):
        raise DataError(f"{text}: labels must be 0 to 9.")
    return TestPart(
        name=text,
        images=torch.from_numpy(images.transpose(0, 3, 1, 2).copy()),
        labels=torch.from_numpy(labels.astype(np.int64)),
        class_names=CIFAR10_CLASSES,
    )


def _distorted(name: str, folder: Path, given: dict[str, object]) -> tuple[np.ndarray, np.ndarray]:
    """The images of one distortion and severity, and their labels."""
    noise, severity = given.get("noise"), given.get("severity", 3)
    if set(given) - {"noise", "severity"} or not isinstance(noise, str) or severity not in SEVERITIES:
        raise DataError(f"{name}: give it as {name}(noise='fog', severity=3), with a severity of 1 to 5.")
    folder = folder / "CIFAR-10-C" if (folder / "CIFAR-10-C").is_dir() else folder
    if not (folder / f"{noise}.npy").is_file() and folder.is_dir():
        there = sorted(path.stem for path in folder.glob("*.npy") if path.stem != "labels")
        if there:
            raise DataError(f"{name}: no {noise}.npy in {folder}. {did_you_mean(noise, there)}")
    images, labels = _load(name, folder / f"{noise}.npy"), _load(name, folder / "labels.npy")
    each = len(images) // len(SEVERITIES)
    here = slice(each * (int(str(severity)) - 1), each * int(str(severity)))
    return images[here], labels[here]


def _fair(name: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """ciFAIR-10's test images and labels, from a batch in the form of CIFAR-10's."""
    path = (folder / "ciFAIR-10" if (folder / "ciFAIR-10").is_dir() else folder) / "test_batch"
    _check_there(name, path)
    with path.open("rb") as file:
        content = file.read(LARGEST_BATCH)
    batch: dict[str, Any] = read_official_pickle(content, CIFAIR_MD5, f"{name}: {path}")
    return batch["data"].reshape(-1, *SHAPE).transpose(0, 2, 3, 1), np.array(batch["labels"])


def _check_there(name: str, path: Path) -> None:
    if not path.is_file():
        raise DataError(
            f"{name}: there is no {path.name} in {path.parent}. It is at {WHERE[name]}; name its folder with "
            "--data-dir."
        )


def _load(name: str, path: Path) -> np.ndarray:
    _check_there(name, path)
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{name}: {path} cannot be read ({error}).") from None
