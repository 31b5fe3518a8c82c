"""The drawn data set: what is the same in all classes, and what tells them apart."""

import re

import pytest
import torch
from torch import Tensor

from tiebreak.data.catalog import load_dataset
from tiebreak.data.shapes import SHAPES, SIDE, draw_shapes, place_shapes, shape_coordinates
from tiebreak.errors import DataError
from tiebreak.rng import stream


def histogram(image: Tensor) -> dict[tuple[int, ...], int]:
    """How often each colour occurs."""
    colours, counts = image.flatten(1).T.unique(dim=0, return_counts=True)
    return {tuple(colour.tolist()): int(count) for colour, count in zip(colours, counts, strict=True)}


def test_with_arrangement_as_cue_all_images_have_the_same_colours_in_the_same_amounts() -> None:
    data = draw_shapes(noise=0.0, clutter=30)
    assert data.image_shape == (3, 32, 32) and len(data.train) + len(data.test) == 12_000
    assert data.train_labels.bincount().tolist() == [1000] * 10
    histograms = [histogram(image) for image in data.train_images[:50]]
    assert all(counts == histograms[0] for counts in histograms)
    assert len(histograms[0]) == 2


def test_every_class_has_a_shape_of_its_own_of_the_same_area() -> None:
    coordinates = shape_coordinates(14, 70)
    masks = {frozenset(map(tuple, shape.tolist())) for shape in coordinates}
    assert len(masks) == len(SHAPES) == 10
    assert all(len(mask) == 70 for mask in masks)


def test_jitter_moves_shapes_without_cutting_them() -> None:
    labels = torch.zeros(500, dtype=torch.int64)
    places = place_shapes(labels, 14, 70, 9, stream(0, "test"))
    rows, columns = places // SIDE, places % SIDE
    height = rows.max(dim=1).values - rows.min(dim=1).values
    width = columns.max(dim=1).values - columns.min(dim=1).values
    assert (height == height[0]).all() and (width == width[0]).all()
    assert len(rows.min(dim=1).values.unique()) == len(columns.min(dim=1).values.unique()) == 19
    still = place_shapes(labels, 14, 70, 0, stream(0, "test"))
    assert (still == still[0]).all()


def test_with_colour_as_cue_the_place_of_a_pixel_says_nothing() -> None:
    data = draw_shapes(cue="colour", noise=0.0)
    by_class: dict[int, set[tuple[tuple[int, ...], int]]] = {}
    for image, label in zip(data.train_images[:200], data.train_labels[:200].tolist(), strict=True):
        by_class.setdefault(label, set()).add(tuple(sorted(histogram(image).items())))
    assert all(len(histograms) == 1 for histograms in by_class.values())
    assert len(set.union(*by_class.values())) == 10
    # How often each position belongs to the shape: binomial, so within six standard deviations.
    background = data.train_images[:, 0].flatten(1).mode(dim=1).values
    often = (data.train_images[:, 0].flatten(1) != background[:, None]).float().mean(dim=0)
    assert (often - 71 / 1024).abs().max() < 6 * (71 / 1024 / 10_000) ** 0.5


def test_the_catalog_reads_the_dials_and_a_seed_gives_other_images() -> None:
    data = load_dataset("shapes(cue='arrangement', jitter=0, noise=0, size=8)")
    assert data.name == "shapes"
    assert torch.equal(data.train_images, draw_shapes(jitter=0, noise=0.0, size=8).train_images)
    noisy = draw_shapes(jitter=0, size=8)
    assert not torch.equal(noisy.train_images, draw_shapes(jitter=0, size=8, seed=1).train_images)
    assert noisy.train_images.float().std() > data.train_images.float().std()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shapes(cue='smell')", "cue must be one of arrangement, colour, got 'smell'"),
        ("shapes(jitter=10)", "jitter must lie between 0 and 9 pixels for shapes of size 14, got 10"),
        ("shapes(size=40)", "size must lie between 6 and 32 pixels, got 40"),
        ("shapes(noise=-1)", "noise must lie between 0 and 10, got -1"),
        ("shapes(clutter=1000)", "clutter must lie between 0 and 953 pixels, got 1000"),
        ("shapes(wobble=1)", "It takes: cue, jitter, clutter, noise, size, seed."),
        ("shapes(jitter='much')", "jitter must be of type int, got 'much'"),
    ],
)
def test_a_dial_out_of_range_is_refused(text: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        load_dataset(text)
