"""The images that a report shows, kept in the study folder as one PNG, so that it needs the data set no more.

STUDY/images.png    the images side by side, row by row
STUDY/images.json   where each one comes from
Shape letters: N images, C channels, H height, W width, M test images.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations, zip_longest
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from tiebreak.errors import StudyError
from tiebreak.evidence.describe.mistakes import find_mistakes, most_disputed
from tiebreak.evidence.describe.predictions import Predicted, predicted_by
from tiebreak.files import atomic_write, read_plain_file
from tiebreak.results.results import Results
from tiebreak.sealed import digest, read_sealed, write_sealed

PICTURE_FILE, LIST_FILE = "images.png", "images.json"
REMEDY = "Remove images.json and give the command that made the study again."
MAX_IMAGES = 600
MAX_BYTES = 2_000_000  # of pixels: large images are fewer, so that the page stays small enough to send
MIN_IMAGES = 24
LISTED = 12  # images of each list of mistakes
COLUMNS = 25


class SheetImage(BaseModel):
    """One image of the sheet."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    index: int = Field(ge=0)  # among the test images
    label: int = Field(ge=0)
    sample: bool  # part of a random sample of the test images; the others were chosen for what they show


class Sheet(BaseModel):
    """The content of images.json: the images in the order of the picture, from the top left."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    columns: int = Field(ge=1)
    height: int = Field(ge=1)  # of one image
    width: int = Field(ge=1)
    exact: bool  # the picture holds the very pixels; False where images have neither 1 nor 3 channels
    images: tuple[SheetImage, ...]
    picture: str | None = None  # SHA-256 of images.png


def keep_sheet(
    folder: Path, results: Results, images: UInt8[np.ndarray, "M C H W"], shuffled: Sequence[int]
) -> Sheet:
    """Choose the images of a study's report and write them into its folder.

    A third is a random sample; the rest is what its lists of mistakes and its confusion matrices ask for.
    `shuffled`: the numbers of the test images in a random order.

    Raises: OSError if the folder cannot be written.
    """
    predicted = [predicted_by(results, contender.label) for contender in results.contenders if contender.runs]
    count, channels, height, width = images.shape
    room = min(MAX_IMAGES, max(MIN_IMAGES, MAX_BYTES // (channels * height * width)), count)
    sample = list(shuffled[: max(1, room // 3)])
    chosen = sorted(_first(chain(sample, wanted_images(predicted)), room))
    in_sample = set(sample)
    picture = as_png(draw_grid(images[chosen], COLUMNS))
    sheet = Sheet(
        columns=COLUMNS,
        height=height,
        width=width,
        exact=channels in (1, 3),
        images=tuple(
            SheetImage(index=index, label=int(results.examples.truth[index]), sample=index in in_sample)
            for index in chosen
        ),
        picture=digest(picture),
    )
    with atomic_write(folder / PICTURE_FILE) as file:
        file.write(picture)
    write_sealed(folder / LIST_FILE, sheet)
    return sheet


def read_sheet(folder: Path, test_images: int, classes: int) -> tuple[Sheet, bytes] | None:
    """The list and the picture of a study folder; None if it has none.

    Raises: StudyError if they are damaged, or name images or classes that the study's data do not have.
    """
    picture, listed = folder / PICTURE_FILE, folder / LIST_FILE
    content = read_plain_file(folder, PICTURE_FILE)
    sheet = read_sealed(folder, LIST_FILE, Sheet, REMEDY)
    if content is None or sheet is None:
        return None
    if sheet.picture not in (None, digest(content)):
        raise StudyError(f"{picture} was changed after it was stored. {REMEDY}")
    try:
        with Image.open(io.BytesIO(content)) as image:
            size = image.size
    except OSError:
        raise StudyError(f"{picture} is damaged. {REMEDY}") from None
    rows = -(-len(sheet.images) // sheet.columns)
    fits = size == (sheet.columns * sheet.width, rows * sheet.height) and all(
        image.index < test_images and image.label < classes for image in sheet.images
    )
    if not fits:
        raise StudyError(f"{listed} fits neither {picture.name} nor the study. {REMEDY}")
    return sheet, content


def wanted_images(predicted: list[Predicted]) -> Iterator[int]:
    """Test images by number, the most wanted first, some of them several times."""
    for a, b in combinations(predicted, 2):
        if set(a.seeds) & set(b.seeds):
            mistakes = find_mistakes(a, b)
            for found in (mistakes.only_a, mistakes.only_b, mistakes.both_wrong, most_disputed(a, b)):
                yield from found[:LISTED].tolist()
    for one in predicted:
        yield from most_disputed(one)[:LISTED].tolist()
    cells = [cell for one in predicted for cell in confusion_cells(one)]
    cells.sort(key=len, reverse=True)
    # One image of every cell, then a second one of each, and so on: the largest cells first.
    for round_of_cells in zip_longest(*cells):
        yield from (index for index in round_of_cells if index is not None)


def confusion_cells(predicted: Predicted) -> list[list[int]]:
    """The test images of each cell of a confusion matrix, those on which most seeds agree first.

    An image belongs to every cell into which some seed puts it.
    """
    k = predicted.num_classes
    cells: dict[int, list[int]] = {}
    classes = predicted.classes
    votes = np.stack([(classes == label).sum(axis=0) for label in range(k)], axis=1)  # (M, K)
    images, named = np.nonzero(votes)
    order = np.argsort(-votes[images, named], kind="stable")
    for image, name in zip(images[order].tolist(), named[order].tolist(), strict=True):
        cells.setdefault(int(predicted.truth[image]) * k + name, []).append(image)
    return [cell[:MAX_IMAGES] for cell in cells.values()]


def draw_grid(images: UInt8[np.ndarray, "N C H W"], columns: int) -> UInt8[np.ndarray, "height width *rgb"]:
    """Images side by side, row by row: grey for one channel, RGB for three, else the mean of the channels."""
    if images.shape[1] not in (1, 3):
        images = images.mean(axis=1, keepdims=True).astype(np.uint8)
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    grid = np.zeros((rows * columns, channels, height, width), dtype=np.uint8)
    grid[:count] = images
    grid = grid.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    grid = grid.reshape(rows * height, columns * width, channels)
    return grid[:, :, 0] if channels == 1 else grid


def cut_grid(picture: bytes, sheet: Sheet, channels: int, count: int) -> UInt8[np.ndarray, "N channels H W"]:
    """The first `count` images of an exact sheet's picture."""
    with Image.open(io.BytesIO(picture)) as image:
        grid = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    rows = -(-len(sheet.images) // sheet.columns)
    tiles = grid.reshape(rows, sheet.height, sheet.columns, sheet.width, channels).transpose(0, 2, 4, 1, 3)
    return tiles.reshape(-1, channels, sheet.height, sheet.width)[: min(count, len(sheet.images))]


def as_png(pixels: UInt8[np.ndarray, "height width *rgb"]) -> bytes:
    """A PNG file of grey or RGB pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png", optimize=True)
    return file.getvalue()


def _first(numbers: Iterable[int], count: int) -> list[int]:
    """The first `count` different numbers."""
    seen: dict[int, None] = {}
    for number in numbers:
        if len(seen) == count:
            break
        seen[number] = None
    return list(seen)
