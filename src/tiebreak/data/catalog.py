"""From a data set's name to the data set."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tiebreak.data.arrays import arrays_source
from tiebreak.data.cache import Source, load_prepared
from tiebreak.data.cifar import CIFAR10, CIFAR100, Cifar, cifar_source
from tiebreak.data.dataset import ImageDataset
from tiebreak.data.digits import digits_source
from tiebreak.data.fashion_small import fashion_small_source
from tiebreak.data.fetch import Progress, RemoteFile
from tiebreak.data.folder import folder_source
from tiebreak.data.idx import FASHION_MNIST, MNIST, IdxSet, idx_source, is_installed
from tiebreak.data.names import DEFAULT_DATASET, FORMS, NAMES, dataset_name
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
    """Where a data set that has a name comes from."""

    source: Callable[[Options], Source]
    at_hand: Callable[[], bool] = lambda: True  # without a download
    takes_data_dir: bool = False


def _cifar(cifar: Cifar) -> Entry:
    return Entry(
        source=lambda options: cifar_source(cifar, options.data_dir, options.progress),
        at_hand=lambda: _is_downloaded([cifar.remote], cache_root() / "downloads"),
        takes_data_dir=True,
    )


def _idx(idx: IdxSet) -> Entry:
    return Entry(
        source=lambda options: idx_source(idx, options.data_dir, options.progress),
        at_hand=lambda: (
            is_installed(idx) or _is_downloaded(idx.remote, cache_root() / "downloads" / idx.name)
        ),
        takes_data_dir=True,
    )


NAMED = {
    DEFAULT_DATASET: Entry(source=lambda options: fashion_small_source()),
    "cifar10": _cifar(CIFAR10),
    "cifar100": _cifar(CIFAR100),
    "mnist": _idx(MNIST),
    "fashion-mnist": _idx(FASHION_MNIST),
    "digits": Entry(source=lambda options: digits_source(options.test_fraction)),
    "shapes": Entry(source=lambda options: shapes_source("shapes")),
}


def load_dataset(
    spec: str | Path = DEFAULT_DATASET,
    *,
    data_dir: Path | None = None,
    resize: int | None = None,
    skip_bad_images: bool = False,
    test_fraction: float = TEST_FRACTION,
    progress: Progress | None = None,
) -> ImageDataset:
    """The data set of a name in `NAMES`, of folder:PATH or of arrays:FILE.npz; a `Path` is one of these two.

    `data_dir` holds the files of a data set that would be downloaded otherwise. `resize` (pixels, to a
    square) and `skip_bad_images` are for folders. `test_fraction` is split off where there is no test
    part. `progress` is told of a download, or of the reading of a folder: what, how far, and how far it goes.

    Raises: DataError if the name is unknown, an option does not fit it, or files are missing or broken.
    """
    options = Options(
        data_dir=data_dir.expanduser() if data_dir else None,
        resize=resize,
        skip_bad_images=skip_bad_images,
        test_fraction=test_fraction,
        progress=progress,
    )
    return load_prepared(_source(dataset_name(spec), options))


def dataset_names() -> list[tuple[str, str, bool]]:
    """Name, one-line description, and whether it can be had without a download."""
    named = [(name, description, NAMED[name].at_hand()) for name, description in NAMES.items()]
    return [
        *named,
        (
            FORMS["folder"],
            "images in PATH/train/<class>/ and, if they are there, PATH/val and PATH/test",
            True,
        ),
        (FORMS["arrays"], "x_train, y_train, x_test, y_test in one .npz file", True),
    ]


def _source(spec: str, options: Options) -> Source:
    if spec.startswith("shapes("):
        _check_options("shapes", "shapes", options)
        return shapes_source(spec)
    kind, _, path = spec.partition(":")
    if kind not in FORMS and spec not in NAMED:
        raise DataError(f"Unknown data set {spec!r}. {did_you_mean(spec, [*NAMED, *FORMS.values()])}")
    _check_options(spec, kind, options)
    if kind not in FORMS:
        return NAMED[spec].source(options)
    if not path:
        raise DataError(f"{kind}: needs a path. Give it as {FORMS[kind]}.")
    if kind == "arrays":
        return arrays_source(Path(path).expanduser())
    return folder_source(
        Path(path).expanduser(),
        resize=options.resize,
        skip_bad_images=options.skip_bad_images,
        test_fraction=options.test_fraction,
        progress=options.progress,
    )


def _check_options(spec: str, kind: str, options: Options) -> None:
    """Refuse an option that would be ignored: who gives it has another data set in mind."""
    if options.data_dir is not None and (kind in FORMS or not NAMED[spec].takes_data_dir):
        takers = ", ".join(name for name, entry in NAMED.items() if entry.takes_data_dir)
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
