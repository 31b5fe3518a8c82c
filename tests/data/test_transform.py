"""Input transforms against references, and what a run makes of them."""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.data.subset import take_fraction
from tiebreak.data.transform import TRANSFORMS, apply_transform, transform_dataset
from tiebreak.data.transform_names import PARAMETERS, parse_transform
from tiebreak.errors import DataError
from tiebreak.rng import stream

EXAMPLES = (
    "permute-pixels",
    "permute-patches(4)",
    "grayscale",
    "blur(1.5)",
    "noise(0.1)",
    "shift(3)",
    "rotate(20)",
    "occlude(5)",
)


def random_images(count: int = 40, channels: int = 3, height: int = 12, width: int = 16) -> Tensor:
    shape = (count, channels, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=stream(0, "images"))


@pytest.fixture
def data() -> ImageDataset:
    images = random_images(60)
    labels = torch.arange(60) % 3
    return make_dataset("random", images[:45], labels[:45], images[45:], labels[45:], ("a", "b", "c"))


def apply(text: str, images: Tensor, seed: int = 0, part: str = "test") -> Tensor:
    return apply_transform(parse_transform(text), images, seed, part)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_takes_what_its_name_is_read_with(name: str) -> None:
    assert set(PARAMETERS) == set(TRANSFORMS)
    _, _, *parameters = inspect.signature(TRANSFORMS[name]).parameters.values()
    assert {parameter.name: parameter.annotation for parameter in parameters} == PARAMETERS[name]


def test_every_transform_is_tried_here() -> None:
    assert {parse_transform(text).call.name for text in EXAMPLES} == set(TRANSFORMS)


@pytest.mark.parametrize("text", EXAMPLES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transform_keeps_shape_and_input_and_follows_the_seed(text: str, channels: int) -> None:
    images = random_images(channels=channels)
    before = images.clone()
    changed = apply(text, images)
    assert changed.shape == images.shape and changed.dtype == torch.uint8
    assert torch.equal(images, before)
    assert torch.equal(changed, apply(text, images))
    if text not in ("grayscale", "blur(1.5)"):
        assert not torch.equal(changed, apply(text, images, seed=1))


def test_permute_pixels_is_a_bijection_of_positions_common_to_images_and_channels() -> None:
    height, width = 12, 16
    # Each position holds its own number: row in one channel, column in the other.
    rows = torch.arange(height).view(-1, 1).expand(height, width)
    columns = torch.arange(width).expand(height, width)
    images = torch.stack([rows, columns]).to(torch.uint8).expand(5, 2, height, width).contiguous()
    permuted = apply("permute-pixels", images)
    places = permuted[0, 0].int() * width + permuted[0, 1].int()
    assert sorted(places.flatten().tolist()) == list(range(height * width))
    assert not torch.equal(places, torch.arange(height * width).view(height, width))
    assert (permuted == permuted[0]).all()
    again = apply("permute-pixels", random_images())
    assert torch.equal(again, random_images().flatten(2)[:, :, places.flatten()].view(again.shape))


def test_train_val_and_test_share_one_permutation(data: ImageDataset) -> None:
    same = replace(data, test_images=data.train_images, test_labels=data.train_labels)
    permuted = transform_dataset(same, ["permute-pixels"], seed=3)
    assert torch.equal(permuted.train_images, permuted.test_images)
    _, val = permuted.split(10, seed=0)
    assert torch.equal(val.images[val.indices], permuted.test_images[val.indices])


def test_noise_differs_between_parts_but_strengths_share_their_draws(data: ImageDataset) -> None:
    grey = torch.full_like(data.train_images, 128)
    same = replace(data, train_images=grey, test_images=grey[:15])
    noisy = transform_dataset(same, ["noise(0.05)"], seed=0)
    assert not torch.equal(noisy.train_images[:15], noisy.test_images)
    twice = transform_dataset(same, ["noise(0.1)"], seed=0)
    assert torch.allclose(
        (twice.test_images.float() - 128) / 2, noisy.test_images.float() - 128, atol=1.0, rtol=0
    )


def test_permute_patches_moves_patches_and_keeps_their_inside() -> None:
    images = random_images(count=3)
    moved = apply("permute-patches(4)", images)

    def patches(batch: Tensor) -> list[set[bytes]]:
        cut = batch.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
        return [{patch.contiguous().numpy().tobytes() for patch in image} for image in cut]

    assert patches(moved) == patches(images)
    assert not torch.equal(moved, images)


def test_grayscale_weighs_the_channels_as_bt_601_does() -> None:
    pixel = torch.tensor([200, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1)
    assert apply("grayscale", pixel).flatten().tolist() == [round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)] * 3


def test_blur_is_scipys_gaussian() -> None:
    images = random_images(count=4)
    ours = apply("blur(1.2)", images).numpy().astype(float)
    # Ours ends at ceil(3 sigma) = 4 pixels.
    reference = scipy.ndimage.gaussian_filter(
        images.numpy().astype(float), (0, 0, 1.2, 1.2), mode="nearest", radius=(0, 0, 4, 4)
    )
    assert np.abs(ours - reference).max() <= 0.51
    assert torch.equal(apply("blur(0)", images), images)


def test_noise_has_the_standard_deviation_it_says() -> None:
    images = torch.full((50, 3, 16, 16), 128, dtype=torch.uint8)
    noisy = apply("noise(0.1)", images).float()
    assert noisy.std().item() == pytest.approx(25.5, rel=0.02)
    assert noisy.mean().item() == pytest.approx(128, abs=0.5)


def test_shift_moves_each_image_one_of_four_ways() -> None:
    images = random_images(count=200, height=10, width=10)
    moved = apply("shift(3)", images)
    inner = slice(3, -3)
    ways = {
        "up": moved[:, :, inner, inner] == images[:, :, 6:, inner],
        "down": moved[:, :, inner, inner] == images[:, :, :4, inner],
        "left": moved[:, :, inner, inner] == images[:, :, inner, 6:],
        "right": moved[:, :, inner, inner] == images[:, :, inner, :4],
    }
    counts = {way: int(equal.flatten(1).all(dim=1).sum()) for way, equal in ways.items()}
    assert sum(counts.values()) == 200
    assert min(counts.values()) > 25
    assert torch.equal(apply("shift(0)", images), images)


def test_rotate_by_a_right_angle_is_rot90() -> None:
    images = random_images(count=30, height=11, width=11)
    turned = apply("rotate(90)", images)
    ways = [
        torch.equal(image, torch.rot90(source, 1, (1, 2)))
        for image, source in zip(turned, images, strict=True)
    ]
    other = [
        torch.equal(image, torch.rot90(source, -1, (1, 2)))
        for image, source in zip(turned, images, strict=True)
    ]
    assert all(one != another for one, another in zip(ways, other, strict=True))
    assert 5 < sum(ways) < 25


def test_rotate_keeps_angles_in_images_that_are_not_square() -> None:
    image = np.zeros((1, 1, 40, 60), dtype=np.uint8)
    image[0, 0, 15:25, 20:40] = 255
    turned = apply("rotate(30)", torch.from_numpy(image))[0, 0].numpy().astype(float)
    references = [
        scipy.ndimage.rotate(image[0, 0].astype(float), angle, reshape=False, order=1) for angle in (30, -30)
    ]
    assert min(np.abs(turned - reference).mean() for reference in references) < 1


def test_occlude_covers_one_square_with_the_mean_colour() -> None:
    images = random_images(count=50)
    covered = apply("occlude(5)", images)
    changed = (covered != images).any(dim=1)
    for image, source, where in zip(covered, images, changed, strict=True):
        rows, columns = where.nonzero(as_tuple=True)
        assert int(rows.max() - rows.min()) < 5 and int(columns.max() - columns.min()) < 5
        inside = image[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].flatten(1)
        assert (inside == source.float().mean(dim=(1, 2)).round().to(torch.uint8)[:, None]).all()


def test_transforms_apply_in_turn_and_leave_the_constants(data: ImageDataset) -> None:
    changed = transform_dataset(data, ["grayscale", "test:occlude(4)"], seed=0)
    assert (changed.mean, changed.std, changed.fingerprint) == (data.mean, data.std, data.fingerprint)
    assert torch.equal(changed.train_images, apply("grayscale", data.train_images))
    assert torch.equal(changed.test_images, apply("occlude(4)", apply("grayscale", data.test_images)))


def test_what_is_for_the_test_part_leaves_training_alone(data: ImageDataset) -> None:
    changed = transform_dataset(data, ["test:shift(2)"], seed=0)
    assert changed.train_images is data.train_images
    assert not torch.equal(changed.test_images, data.test_images)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("blurr(1)", 'Unknown transform "blurr". Did you mean "blur"?'),
        ("blur", "missing a required argument: 'sigma'; write blur(sigma)."),
        ("grayscale(3)", "too many positional arguments; write grayscale."),
        ("shift(1.5)", "pixels must be a whole number, got 1.5."),
        ("shift(True)", "pixels must be a whole number, got True."),
        ("noise('a')", "sd must be a number, got 'a'."),
        ("test:permute-pixels", "write permute-pixels without test:"),
        ("blur(1", "the parenthesis after 'blur' is not closed"),
    ],
)
def test_a_transform_that_cannot_be_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        parse_transform(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("permute-patches(5)", "12x16 pixels cannot be cut into 5x5 patches"),
        ("occlude(13)", "size must lie between 0 and 12 pixels, got 13"),
        ("shift(-1)", "pixels must not be negative, got -1"),
        ("blur(-1)", "sigma must not be negative, got -1"),
        ("noise(-1)", "sd must not be negative, got -1"),
        ("permute-patches(0)", "size must be at least 1 pixel, got 0"),
    ],
)
def test_a_transform_that_does_not_fit_the_images_is_refused(text: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        apply(text, random_images())


def test_a_fraction_is_stratified_nested_and_in_order(data: ImageDataset) -> None:
    train, _ = data.split(6, seed=0)
    half = take_fraction(train, 0.5, stream(0, "subset"))
    quarter = take_fraction(train, 0.25, stream(0, "subset"))
    assert len(half) == 20 and len(quarter) == 10
    assert half.targets.bincount().tolist() in ([7, 7, 6], [7, 6, 7], [6, 7, 7])
    assert half.indices is not None and quarter.indices is not None and train.indices is not None
    assert set(quarter.indices.tolist()) < set(half.indices.tolist()) < set(train.indices.tolist())
    assert torch.equal(half.indices, half.indices.sort().values)
    assert take_fraction(train, 1.0, stream(0, "subset")) is train


@pytest.mark.parametrize(("fraction", "words"), [(0.0, "must lie above 0"), (0.01, "fewer than classes")])
def test_a_fraction_that_leaves_nothing_is_refused(data: ImageDataset, fraction: float, words: str) -> None:
    with pytest.raises(DataError, match=words):
        take_fraction(data.train, fraction, stream(0, "subset"))
