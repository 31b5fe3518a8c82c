"""The names of data sets. Nothing is imported here that takes time."""

import re
from pathlib import Path

DEFAULT_DATASET = "fashion-small"
NAMES = {
    DEFAULT_DATASET: "12,000 images of Fashion-MNIST inside the package: 28x28 grey, 10 classes",
    "cifar10": "60,000 photographs, 32x32 colour, 10 classes (163 MiB to download)",
    "cifar100": "60,000 photographs, 32x32 colour, 100 classes (161 MiB to download)",
    "mnist": "70,000 handwritten digits, 28x28 grey, 10 classes (11 MiB to download)",
    "fashion-mnist": "70,000 clothes, 28x28 grey, 10 classes (29 MiB to download)",
    "digits": "1,797 handwritten digits of scikit-learn, 8x8 grey, 10 classes",
    "shapes": "12,000 drawn images, 32x32 colour, 10 classes whose cue is known: shapes(cue='colour')",
}
FORMS = {  # names that go on with a path
    "folder": "folder:PATH",
    "arrays": "arrays:FILE.npz",
}


def dataset_name(spec: str | Path) -> str:
    """A data set's name as it stands in `NAMES`: capitals, `-`, `_` and spaces do not matter.

    A path becomes folder:PATH or arrays:FILE.npz; what is unknown stays as it is.
    """
    if isinstance(spec, Path):
        return f"folder:{spec}" if spec.expanduser().is_dir() else f"arrays:{spec}"
    kind, colon, path = spec.partition(":")
    if colon and kind.lower() in FORMS:
        return f"{kind.lower()}:{path}"
    name, bracket, arguments = spec.partition("(")
    known = {_plain(each): each for each in NAMES}
    return known.get(_plain(name), name) + bracket + arguments


def _plain(name: str) -> str:
    return re.sub("[-_ ]", "", name.lower())
