"""The images kept for the page: the right pixels, few enough, and chosen for what they show."""

import json

import numpy as np
import pytest
from PIL import Image

from tiebreak.actions.judge import Verdicts
from tiebreak.data.dataset import ImageDataset
from tiebreak.evidence.describe.mistakes import find_mistakes
from tiebreak.evidence.describe.predictions import predicted_by
from tiebreak.report.page.sheet import as_png, confusion_cells, draw_grid, read_sheet


def test_the_picture_holds_the_very_pixels(study: Verdicts, clothes: ImageDataset) -> None:
    sheet, _ = read_sheet(study.folder, 500, 10)
    picture = np.array(Image.open(study.folder / "images.png"))
    for position, image in enumerate(sheet.images):
        top, left = 28 * (position // sheet.columns), 28 * (position % sheet.columns)
        expected = clothes.test_images[image.index, 0].numpy()
        assert np.array_equal(picture[top : top + 28, left : left + 28], expected)
        assert image.label == clothes.test_labels[image.index]


def test_colours_keep_their_places(kinds: Verdicts) -> None:
    sheet, _ = read_sheet(kinds.folder, 300, 3)
    picture = np.array(Image.open(kinds.folder / "images.png"))
    for position, image in enumerate(sheet.images):
        top, left = 16 * (position // sheet.columns), 16 * (position % sheet.columns)
        rows = picture[top + 4 : top + 9, left : left + 16].mean(axis=(0, 1))
        assert rows.argmax() == image.label, "each class is bright in its own channel"


def test_no_image_twice_and_a_third_at_random(study: Verdicts) -> None:
    sheet, _ = read_sheet(study.folder, 500, 10)
    indices = [image.index for image in sheet.images]
    assert len(indices) == len(set(indices)) == 500  # of 500; the limit is 600
    assert sum(image.sample for image in sheet.images) == 500 // 3


def test_every_list_and_cell_has_its_images(study: Verdicts) -> None:
    sheet, _ = read_sheet(study.folder, 500, 10)
    there = {image.index for image in sheet.images}
    a, b = (predicted_by(study.results, summary.label) for summary in study.contenders)
    assert set(find_mistakes(a, b).only_a[:12].tolist()) <= there
    for predicted in (a, b):
        for cell in confusion_cells(predicted):
            assert there & set(cell)


def test_large_images_are_fewer(
    study: Verdicts, monkeypatch: pytest.MonkeyPatch, clothes: ImageDataset
) -> None:
    import tiebreak.report.page.sheet as module

    before = [(study.folder / name).read_bytes() for name in ("images.png", "images.json")]
    monkeypatch.setattr(module, "MAX_BYTES", 60 * 28 * 28)
    sheet = module.keep_sheet(study.folder, study.results, clothes.test_images.numpy(), range(500))
    assert len(sheet.images) == 60
    assert sum(image.sample for image in sheet.images) == 20
    for name, content in zip(("images.png", "images.json"), before, strict=True):
        (study.folder / name).write_bytes(content)


def test_other_channels_are_shown_as_their_mean() -> None:
    images = np.stack([np.full((2, 4, 5), 10), np.full((2, 4, 5), 30)]).astype(np.uint8)
    images[1, 0] = 50
    grid = draw_grid(images, columns=3)
    assert grid.shape == (4, 15)
    for column, value in ((0, 10), (5, 40), (10, 0)):
        assert (grid[:, column : column + 5] == value).all()
    assert as_png(grid).startswith(b"\x89PNG")


def test_the_list_is_plain_json(study: Verdicts) -> None:
    content = json.loads((study.folder / "images.json").read_text())
    assert set(content["images"][0]) == {"index", "label", "sample"}
