"""What a study may do to its images on purpose: scramble their arrangement, or make them harder to read.

A transform is written as transform_names.py says. It turns bytes into bytes and is applied to whole parts
before normalisation, whose constants stay those of the images as they are. All draws come from the run's
seed, so contenders of one seed see the same images.

Shape letters: N images, C channels, H height, W width.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from tiebreak.data.dataset import ImageDataset
from tiebreak.data.transform_names import WHOLE_DATA_ONLY, Transform, parse_transform
from tiebreak.errors import DataError
from tiebreak.rng import stream

Images = UInt8[Tensor, "N C H W"]
CHUNK = 1_000  # images at a time where arithmetic needs floats
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def permute_pixels(images: Images, generator: torch.Generator) -> Images:
    """One random permutation of the positions, the same for all images and channels."""
    order = torch.randperm(images.shape[2] * images.shape[3], generator=generator)
    return images.flatten(2)[:, :, order].view(images.shape)


def permute_patches(images: Images, generator: torch.Generator, size: int) -> Images:
    """One random permutation of the size x size patches, the same for all images; each keeps its inside.

    Raises: DataError if height or width is no multiple of `size`.
    """
    count, channels, height, width = images.shape
    _require(size >= 1, f"permute-patches: size must be at least 1 pixel, got {size}.")
    fits = height % size == 0 and width % size == 0
    _require(
        fits, f"permute-patches({size}): {height}x{width} pixels cannot be cut into {size}x{size} patches."
    )
    rows, columns = height // size, width // size
    patches = images.view(count, channels, rows, size, columns, size).transpose(3, 4).flatten(2, 3)
    shuffled = patches[:, :, torch.randperm(rows * columns, generator=generator)]
    return shuffled.unflatten(2, (rows, columns)).transpose(3, 4).reshape(images.shape)


def grayscale(images: Images, generator: torch.Generator) -> Images:
    """Each pixel's brightness in all channels: weights of ITU-R BT.601 for three channels, else the mean."""
    channels = images.shape[1]
    weights = torch.tensor(LUMA) if channels == 3 else torch.full((channels,), 1 / channels)
    grey = [torch.einsum("nchw,c->nhw", chunk.float(), weights) for chunk in images.split(CHUNK)]
    return to_bytes(torch.cat(grey)).unsqueeze(1).expand_as(images).contiguous()


def blur(images: Images, generator: torch.Generator, sigma: float) -> Images:
    """A Gaussian of standard deviation `sigma` pixels, cut off at three of them; the border is repeated."""
    _require(sigma >= 0, f"blur: sigma must not be negative, got {sigma}.")
    if sigma == 0:
        return images
    radius = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()

    def blur_chunk(chunk: Tensor) -> Tensor:
        planes = F.pad(chunk.float().flatten(0, 1).unsqueeze(1), (radius,) * 4, mode="replicate")
        return F.conv2d(F.conv2d(planes, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1)).view(
            chunk.shape
        )

    return torch.cat([to_bytes(blur_chunk(chunk)) for chunk in images.split(CHUNK)])


def noise(images: Images, generator: torch.Generator, sd: float) -> Images:
    """Independent Gaussian noise on every value; `sd` is a fraction of the way from black to white."""
    _require(sd >= 0, f"noise: sd must not be negative, got {sd}.")
    if sd == 0:
        return images
    noisy = (
        to_bytes(torch.randn(chunk.shape, generator=generator).mul_(255 * sd).add_(chunk))
        for chunk in images.split(CHUNK)
    )
    return torch.cat(list(noisy))


def shift(images: Images, generator: torch.Generator, pixels: int) -> Images:
    """Each image moved by `pixels` up, down, left or right, at random; the border is repeated."""
    _require(pixels >= 0, f"shift: pixels must not be negative, got {pixels}.")
    height, width = images.shape[2:]
    rows, columns = torch.arange(height), torch.arange(width)
    direction = torch.randint(4, (len(images),), generator=generator)
    moved = torch.empty_like(images)
    for number, (down, right) in enumerate([(-pixels, 0), (pixels, 0), (0, -pixels), (0, pixels)]):
        chosen = images[direction == number]
        chosen = chosen[:, :, (rows - down).clamp(0, height - 1)]
        moved[direction == number] = chosen[:, :, :, (columns - right).clamp(0, width - 1)]
    return moved


def rotate(images: Images, generator: torch.Generator, degrees: float) -> Images:
    """Each image turned by `degrees`, clockwise or not at random; bilinear, the border is repeated."""
    count, _, height, width = images.shape
    clockwise = torch.randint(2, (count,), generator=generator) * 2 - 1
    if degrees == 0:
        return images
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    turned = []
    for chunk, sign in zip(images.split(CHUNK), clockwise.split(CHUNK), strict=True):
        # Coordinates of grid_sample run from -1 to 1 on both sides, whatever the sides' lengths.
        matrix = torch.zeros(len(chunk), 2, 3)
        matrix[:, 0, 0], matrix[:, 1, 1] = cosine, cosine
        matrix[:, 0, 1], matrix[:, 1, 0] = sign * sine * height / width, -sign * sine * width / height
        grid = F.affine_grid(matrix, list(chunk.shape), align_corners=False)
        turned.append(
            to_bytes(F.grid_sample(chunk.float(), grid, padding_mode="border", align_corners=False))
        )
    return torch.cat(turned)


def occlude(images: Images, generator: torch.Generator, size: int) -> Images:
    """A size x size square at a random place inside each image gets the image's mean colour.

    Raises: DataError if the square is larger than the image.
    """
    count, _, height, width = images.shape
    fits = 0 <= size <= min(height, width)
    _require(fits, f"occlude: size must lie between 0 and {min(height, width)} pixels, got {size}.")
    top = torch.randint(height - size + 1, (count, 1), generator=generator)
    left = torch.randint(width - size + 1, (count, 1), generator=generator)
    in_rows = (torch.arange(height) >= top) & (torch.arange(height) < top + size)
    in_columns = (torch.arange(width) >= left) & (torch.arange(width) < left + size)
    hidden = (in_rows[:, :, None] & in_columns[:, None, :]).unsqueeze(1)
    colour = torch.cat([to_bytes(chunk.float().mean((2, 3), keepdim=True)) for chunk in images.split(CHUNK)])
    return torch.where(hidden, colour, images)


TRANSFORMS: dict[str, Callable[..., Tensor]] = {
    "permute-pixels": permute_pixels,
    "permute-patches": permute_patches,
    "grayscale": grayscale,
    "blur": blur,
    "noise": noise,
    "shift": shift,
    "rotate": rotate,
    "occlude": occlude,
}


def apply_transform(transform: Transform, images: Images, seed: int, part: str) -> Images:
    """The images changed. Draws come from the seed's stream of this transform, whatever its strength.

    One permutation serves all parts; what is drawn per image differs between the parts.
    """
    name = transform.call.name
    purpose = f"transform/{name}" if name in WHOLE_DATA_ONLY else f"transform/{name}/{part}"
    return TRANSFORMS[name](images, stream(seed, purpose), *transform.call.args)


def transform_dataset(data: ImageDataset, transforms: Sequence[str], seed: int) -> ImageDataset:
    """The data set with its images changed, one transform after another; constants for normalising stay.

    Raises: DataError if a transform cannot be read or does not fit the images.
    """
    for transform in map(parse_transform, transforms):
        test_images = apply_transform(transform, data.test_images, seed, "test")
        train_images = data.train_images
        if not transform.test_only:
            train_images = apply_transform(transform, train_images, seed, "train")
        data = replace(data, train_images=train_images, test_images=test_images)
    return data


def check_transforms(data: ImageDataset, transforms: Sequence[str]) -> None:
    """Try the transforms on one image. Raises: DataError as `transform_dataset`."""
    images = data.test_images[:1]
    for transform in map(parse_transform, transforms):
        images = apply_transform(transform, images, seed=0, part="test")


def to_bytes(values: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Rounded to the nearest, and held to 0..255."""
    return values.round().clamp(0, 255).to(torch.uint8)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise DataError(message)
