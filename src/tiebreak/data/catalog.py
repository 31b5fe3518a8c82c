"""From a data set's name to the data set."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tiebreak.data.arrays import arrays_source
from tiebreak.data.cache import Source, load_prepared
from tiebreak.data.cifar import CIFAR10, CIFAR100, Cifar, cifar_source, fetch_cifar
from tiebreak.data.dataset import ImageDataset
from tiebreak.data.digits import digits_source
from tiebreak.data.fashion_small import fashion_small_source
from tiebreak.data.fetch import Progress, RemoteFile
from tiebreak.data.folder import folder_source
from tiebreak.data.idx import FASHION_MNIST, MNIST, IdxSet, fetch_idx, idx_source, is_installed
from tiebreak.data.shapes import shapes_source
from tiebreak.errors import DataError, did_you_mean
from tiebreak.files import cache_root

TEST_FRACTION = 0.2  # of a data set that has no test part of its own


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be said about a data set beside its name."""

    data_dir: Path | None
    resize: int | None
    skip_bad_images: bool
    test_fraction: float
    progress: Progress | None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A data set that has a name."""

    description: str  # one line
    source: Callable[[Options], Source]
    at_hand: Callable[[], bool] = lambda: True  # without a download
    fetch: Callable[[Progress | None], list[Path]] | None = None  # None: there is nothing to download


def _cifar(cifar: Cifar, description: str) -> Entry:
    return Entry(
        description=description,
        source=lambda options: cifar_source(cifar, options.data_dir, options.progress),
        at_hand=lambda: _is_downloaded([cifar.remote], cache_root() / "downloads"),
        fetch=lambda progress: [fetch_cifar(cifar, progress)],
    )


def _idx(idx: IdxSet, description: str) -> Entry:
    return Entry(
        description=description,
        source=lambda options: idx_source(idx, options.data_dir, options.progress),
        at_hand=lambda: (
            is_installed(idx) or _is_downloaded(idx.remote, cache_root() / "downloads" / idx.name)
        ),
        fetch=lambda progress: fetch_idx(idx, progress),
    )


NAMED = {
    "fashion-small": Entry(
        description="12,000 images of Fashion-MNIST inside the package: 28x28 grey, 10 classes",
        source=lambda options: fashion_small_source(),
    ),
    "cifar10": _cifar(CIFAR10, "60,000 photographs, 32x32 colour, 10 classes (163 MiB to download)"),
    "cifar100": _cifar(CIFAR100, "60,000 photographs, 32x32 colour, 100 classes (161 MiB to download)"),
    "mnist": _idx(MNIST, "70,000 handwritten digits, 28x28 grey, 10 classes (11 MiB to download)"),
    "fashion-mnist": _idx(FASHION_MNIST, "70,000 clothes, 28x28 grey, 10 classes (29 MiB to download)"),
    "digits": Entry(
        description="1,797 handwritten digits of scikit-learn, 8x8 grey, 10 classes",
        source=lambda options: digits_source(options.test_fraction),
    ),
    "shapes": Entry(
        description="12,000 drawn images, 32x32 colour, 10 classes whose cue is known: shapes(cue='colour')",
        source=lambda options: shapes_source("shapes"),
    ),
}

FORMS = {  # names that go on with a path
    "folder": "folder:PATH",
    "arrays": "arrays:FILE.npz",
}


def load_dataset(
    spec: str,
    *,
    data_dir: Path | None = None,
    resize: int | None = None,
    skip_bad_images: bool = False,
    test_fraction: float = TEST_FRACTION,
    progress: Progress | None = None,
) -> ImageDataset:
    """The data set of a name in `NAMED`, of folder:PATH or of arrays:FILE.npz.

    `data_dir` holds the files of a data set that would be downloaded otherwise. `resize` (pixels, to a
    square) and `skip_bad_images` are for folders. `test_fraction` is split off where there is no test
    part. `progress` is told of a download: file name, bytes there, bytes in all.

    Raises: DataError if the name is unknown, an option does not fit it, or files are missing or broken.
    """
    options = Options(
        data_dir=data_dir,
        resize=resize,
        skip_bad_images=skip_bad_images,
        test_fraction=test_fraction,
        progress=progress,
    )
    return load_prepared(_source(spec, options))


def dataset_names() -> list[tuple[str, str, bool]]:
    """Name, one-line description, and whether it can be had without a download."""
    named = [(name, entry.description, entry.at_hand()) for name, entry in NAMED.items()]
    return [
        *named,
        (FORMS["folder"], "images in PATH/train/<class>/ and, if there is one, PATH/test/<class>/", True),
        (FORMS["arrays"], "x_train, y_train, x_test, y_test in one .npz file", True),
    ]


def fetch_dataset(name: str, progress: Progress | None = None) -> list[Path]:
    """Download a data set's files into the cache, unless they are there; their paths, none if it needs none.

    Raises: DataError if the name is unknown or no mirror gave the right file.
    """
    if name not in NAMED:
        raise DataError(f"Unknown data set {name!r}. {did_you_mean(name, NAMED)}")
    fetch = NAMED[name].fetch
    return fetch(progress) if fetch else []


def _source(spec: str, options: Options) -> Source:
    if spec.startswith("shapes("):
        _check_options("shapes", "shapes", options)
        return shapes_source(spec)
    kind, _, path = spec.partition(":")
    if kind not in FORMS and spec not in NAMED:
        raise DataError(f"Unknown data set {spec!r}. {did_you_mean(spec, [*NAMED, *FORMS.values()])}")
    _check_options(spec, kind, options)
    if kind in FORMS and not path:
        raise DataError(f"{kind}: needs a path. Give it as {FORMS[kind]}.")
    if kind == "folder":
        return folder_source(
            Path(path),
            resize=options.resize,
            skip_bad_images=options.skip_bad_images,
            test_fraction=options.test_fraction,
        )
    if kind == "arrays":
        return arrays_source(Path(path))
    return NAMED[spec].source(options)


def _check_options(spec: str, kind: str, options: Options) -> None:
    """Refuse an option that would be ignored: who gives it has another data set in mind."""
    if options.data_dir is not None and (kind in FORMS or NAMED[spec].fetch is None):
        takers = ", ".join(name for name, entry in NAMED.items() if entry.fetch)
        raise DataError(f"{spec} takes no --data-dir; that is for {takers}. Name one of them with --dataset.")
    if options.data_dir is not None and not options.data_dir.is_dir():
        raise DataError(f"{spec}: --data-dir {options.data_dir} is no folder.")
    if kind != "folder" and (options.resize is not None or options.skip_bad_images):
        raise DataError(
            f"{spec} takes neither --resize nor --skip-bad-images; they are for {FORMS['folder']}."
        )


def _is_downloaded(files: list[RemoteFile] | tuple[RemoteFile, ...], folder: Path) -> bool:
    """Whether files of the right sizes are there; their content is checked when they are read."""
    paths = [folder / file.name for file in files]
    return all(
        path.is_file() and path.stat().st_size == file.size for path, file in zip(paths, files, strict=True)
    )
