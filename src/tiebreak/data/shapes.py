"""Shapes: drawn images for which it is known what tells the classes apart, to hold answers against.

With `cue="arrangement"` every class has a shape of its own, and all shapes have the same number of pixels
in the same colours: nothing but the arrangement tells the class. With `cue="colour"` every class has
a colour of its own, and its pixels lie at random places: nothing but the colours tell it, and a permutation
of the positions changes nothing about the images' distribution.

Shape letters: N images, A pixels of a shape, S side of a shape's square, H height, W width.
"""

import colorsys
import inspect
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from tiebreak.calls import parse_call
from tiebreak.data.cache import Source
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.errors import DataError
from tiebreak.rng import stream

NAME = "shapes"
VERSION = 1  # changes when the same arguments give other images
SIDE = 32  # height and width of an image
TRAIN_IMAGES, TEST_IMAGES = 10_000, 2_000
FILL = 0.36  # share of its square that a shape covers
CUES = ("arrangement", "colour")
BACKGROUND = (0.35, 0.35, 0.35)  # red, green, blue, 0..1
SHAPE_COLOUR = (0.95, 0.75, 0.25)  # of every shape, where the arrangement is the cue
MIN_SIZE, MAX_NOISE = 6, 10.0

# A score for each point of the square -1..1 x -1..1 (x right, y down); the shape is where it is lowest.
Score = Callable[[Tensor, Tensor], Tensor]
SHAPES: dict[str, Score] = {
    "disc": lambda x, y: x.hypot(y),
    "ring": lambda x, y: (x.hypot(y) - 0.72).abs(),
    "frame": lambda x, y: (torch.maximum(x.abs(), y.abs()) - 0.8).abs(),
    "plus": lambda x, y: torch.minimum(x.abs(), y.abs()),
    "cross": lambda x, y: torch.minimum((x - y).abs(), (x + y).abs()),
    "triangle": lambda x, y: torch.maximum(2 * x.abs() - y, y - 0.1),
    "bars across": lambda x, y: torch.minimum((y - 0.6).abs(), (y + 0.6).abs()),
    "bars down": lambda x, y: torch.minimum((x - 0.6).abs(), (x + 0.6).abs()),
    "corner": lambda x, y: torch.minimum(x + 1, 1 - y),
    "four dots": lambda x, y: (x.abs() - 0.6).hypot(y.abs() - 0.6),
}


def draw_shapes(
    cue: str = "arrangement",
    jitter: int = 6,  # pixels that a shape may lie off the centre, to each side
    clutter: int = 0,  # pixels in the shape's colour, strewn over the background
    noise: float = 0.3,  # standard deviation of noise on every value; 1 is from black to white
    size: int = 14,  # side of the square that a shape fills, in pixels
    seed: int = 0,
) -> ImageDataset:
    """The data set: 10,000 training and 2,000 test images of 3x32x32 in ten equally frequent classes.

    Raises: DataError if a dial is out of its range, or size and jitter do not fit into the image.
    """
    area = round(FILL * size * size)
    _check_dials(cue, jitter, clutter, noise, size, area)
    parts: list[Tensor] = []
    for part, count in (("train", TRAIN_IMAGES), ("test", TEST_IMAGES)):
        generator = stream(seed, f"shapes/{part}")
        labels = torch.randperm(count, generator=generator) % len(SHAPES)
        if cue == "arrangement":
            places = place_shapes(labels, size, area, jitter, generator)
        else:
            places = scatter_pixels(count, area, generator)
        is_shape = torch.zeros(count, SIDE * SIDE, dtype=torch.bool).scatter_(1, places, True)
        if clutter:
            is_shape |= strew_clutter(is_shape, clutter, generator)
        colours = torch.tensor([SHAPE_COLOUR] * len(SHAPES) if cue == "arrangement" else class_colours())
        parts += [paint(is_shape, colours[labels], noise, generator), labels]
    names = tuple(SHAPES) if cue == "arrangement" else tuple(f"colour {number}" for number in range(10))
    train_images, train_labels, test_images, test_labels = parts
    return make_dataset(NAME, train_images, train_labels, test_images, test_labels, names)


def shapes_source(text: str) -> Source:
    """The data set that `shapes` or `shapes(cue="colour", jitter=0)` names.

    Raises: DataError if an argument is unknown or, when it is built, out of range.
    """
    call = parse_call(text, DataError)
    signature = inspect.signature(draw_shapes)
    try:
        bound = signature.bind(*call.args, **call.kwargs)
    except TypeError as error:
        raise DataError(f"{text}: {error}. It takes: {', '.join(signature.parameters)}.") from None
    for name, value in list(bound.arguments.items()):
        wanted = signature.parameters[name].annotation
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise DataError(f"{text}: {name} must be of type {wanted.__name__}, got {value!r}.")
        bound.arguments[name] = wanted(value)
    bound.apply_defaults()
    arguments = bound.arguments
    return Source(identity=f"{NAME} {VERSION} {dict(arguments)}", build=lambda: draw_shapes(**arguments))


def shape_coordinates(size: int, area: int) -> Int64[Tensor, "10 A 2"]:
    """Row and column of the pixels of each shape: the `area` lowest scores, so all have the same number."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    ranked = torch.stack([score(x, y).flatten().argsort(stable=True)[:area] for score in SHAPES.values()])
    return torch.stack([ranked // size, ranked % size], dim=2)


def place_shapes(
    labels: Int64[Tensor, " N"], size: int, area: int, jitter: int, generator: torch.Generator
) -> Int64[Tensor, "N A"]:
    """Positions (row * 32 + column) of each image's shape, up to `jitter` off the centre both ways."""
    offsets = torch.randint(-jitter, jitter + 1, (len(labels), 1, 2), generator=generator)
    pixels = shape_coordinates(size, area)[labels] + (SIDE - size) // 2 + offsets
    return pixels[:, :, 0] * SIDE + pixels[:, :, 1]


def scatter_pixels(count: int, area: int, generator: torch.Generator) -> Int64[Tensor, "N A"]:
    """As many positions as a shape has, anywhere, for each image."""
    return torch.rand(count, SIDE * SIDE, generator=generator).topk(area, dim=1, sorted=False).indices


def strew_clutter(is_shape: Tensor, clutter: int, generator: torch.Generator) -> Tensor:
    """Exactly `clutter` positions outside the shape, for each image."""
    draws = torch.rand(is_shape.shape, generator=generator).masked_fill_(is_shape, -1)
    chosen = draws.topk(clutter, dim=1, sorted=False).indices
    return torch.zeros_like(is_shape).scatter_(1, chosen, True)


def class_colours() -> list[tuple[float, float, float]]:
    """Ten hues of one saturation and value."""
    return [colorsys.hsv_to_rgb(number / 10, 0.75, 0.85) for number in range(10)]


def paint(
    is_shape: Tensor, colours: Float[Tensor, "N 3"], noise: float, generator: torch.Generator
) -> UInt8[Tensor, "N 3 H W"]:
    """Images with the given pixels in the given colours on the background, with Gaussian noise on all."""
    painted = []
    for mask, colour in zip(is_shape.split(500), colours.split(500), strict=True):
        values = torch.where(mask.unsqueeze(1), colour.unsqueeze(2), torch.tensor(BACKGROUND).view(1, 3, 1))
        if noise:
            values = torch.randn(values.shape, generator=generator).mul_(noise).add_(values)
        painted.append(values.mul_(255).round_().clamp_(0, 255).to(torch.uint8))
    return torch.cat(painted).view(len(is_shape), 3, SIDE, SIDE)


def _check_dials(cue: str, jitter: int, clutter: int, noise: float, size: int, area: int) -> None:
    room = (SIDE - size) // 2
    free = SIDE * SIDE - area
    complaints = {
        f"cue must be one of {', '.join(CUES)}, got {cue!r}": cue not in CUES,
        f"size must lie between {MIN_SIZE} and {SIDE} pixels, got {size}": not MIN_SIZE <= size <= SIDE,
        f"jitter must lie between 0 and {room} pixels for shapes of size {size}, got {jitter}": (
            not 0 <= jitter <= room
        ),
        f"clutter must lie between 0 and {free} pixels, got {clutter}": not 0 <= clutter <= free,
        f"noise must lie between 0 and {MAX_NOISE:g}, got {noise:g}": not 0 <= noise <= MAX_NOISE,
    }
    for complaint, applies in complaints.items():
        if applies:
            raise DataError(f"{NAME}: {complaint}.")
