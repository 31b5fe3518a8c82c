"""One picture file as pixels, whatever kind of picture it is.

A picture is known by its content. It is seen as a person would see it: turned as its tags say, transparency
over white, of an animation the first frame. 16 bits a channel keep the upper 8 (Pillow does so with colour by
itself), and floating-point pixels count as 0 to 1.

Shape letters: H height, W width.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM", "AVIF")  # Pillow's names; no others are opened
GREY = frozenset(["1", "L", "LA", "La", "F"])  # and whole numbers, whose modes begin with I
ORIENTATION = 0x0112  # the number of the tag
TAG_SOURCES = frozenset(["exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"])  # Pillow's names
# The value of the tag -> the name of Pillow's method that undoes it
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
ON_ITS_SIDE = frozenset([5, 6, 7, 8])
# What Pillow's decoders let out on damaged files.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,  # of the AVIF decoder
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    MemoryError,
    struct.error,
    zlib.error,
    Warning,
)

Pixels = NDArray[np.uint8]  # (H, W) if grey, else (H, W, 3)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known of a picture before its pixels are decoded."""

    width: int  # as seen
    height: int
    grey: bool


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What was decided about a picture's pixels."""

    turned: bool = False  # as its tags say
    laid_over_white: bool = False  # it had transparent pixels
    brightest_of_16_bits: int | None = None  # None: it had no 16 bits a channel
    was_floats: bool = False  # from 0 to 1


class BadPictureError(Exception):
    """Why one file cannot be used: a finding, which its reader deals with."""


class NoPictureError(BadPictureError):
    """The file is of none of the formats."""


def read_header(path: Path) -> Header:
    """Size and kind of a picture, without decoding it. Raises: BadPictureError."""
    with _opened(path) as image:
        width, height = image.size
        # Pillow turns a TIFF by itself, and gives the size that it has then.
        if _orientation(image) in ON_ITS_SIDE and image.format != "TIFF":
            width, height = height, width
        return Header(width=width, height=height, grey=_is_grey(image))


def read_picture(path: Path, size: tuple[int, int] | None = None) -> tuple[Pixels, Decisions]:
    """The picture and what was decided about it; scaled to `size` (width, height; bilinear, antialiased).

    Raises: BadPictureError if it is none, is damaged or beyond Pillow's limit, or its range is unknown.
    """
    from PIL import Image

    with _opened(path) as image:
        orientation = _orientation(image)
        image.load()
        brightest, seen = None, image
        if image.mode.startswith("I") or image.mode == "F":
            seen, brightest = _eight_bits(image)
        laid_over_white = image.has_transparency_data and brightest is None and _is_translucent(image)
        if laid_over_white:
            rgba = image.convert("RGBA")
            seen = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        seen = seen.convert("L" if _is_grey(image) else "RGB")
        if turn := TURNS.get(_orientation(image)):  # none is left where Pillow has turned it
            seen = seen.transpose(Image.Transpose[turn])
        if size is not None:
            seen = seen.resize(size, Image.Resampling.BILINEAR)
        decisions = Decisions(
            turned=orientation in TURNS,
            laid_over_white=laid_over_white,
            brightest_of_16_bits=brightest,
            was_floats=image.mode == "F",
        )
        return np.asarray(seen), decisions


@contextmanager
def _opened(path: Path) -> "Iterator[Image.Image]":
    """A picture file opened; what Pillow says of it inside the block becomes a BadPictureError."""
    from PIL import Image, UnidentifiedImageError  # nothing but folders needs Pillow

    try:
        with Image.open(path, formats=FORMATS) as image:
            if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise BadPictureError(f"has {image.width} x {image.height} pixels, which is too large")
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadPictureError("announces more pixels than Pillow opens (a decompression bomb?)") from None
    except UnidentifiedImageError:
        raise NoPictureError("is no image of a known format") from None
    except BROKEN as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else None
        raise BadPictureError(f"is damaged or cut short ({reason or type(error).__name__})") from None


def _is_grey(image: "Image.Image") -> bool:
    return image.mode in GREY or image.mode.startswith("I")


def _orientation(image: "Image.Image") -> int:
    """The tag that says how a picture is to be turned; damaged tags say nothing."""
    from PIL import Image

    if image.format != "TIFF" and not TAG_SOURCES & image.info.keys():
        return 1  # most pictures: to ask for tags takes as long as to decode a small one
    try:
        # Pillow's own method for PNG would decode the picture to look for a tag behind its pixels.
        return int(Image.Image.getexif(image).get(ORIENTATION, 1))
    except BROKEN:
        return 1


def _is_translucent(image: "Image.Image") -> bool:
    return bool((np.asarray(image.convert("RGBA").getchannel("A")) < 255).any())


def _eight_bits(image: "Image.Image") -> "tuple[Image.Image, int | None]":
    """A grey picture of 16 bits or of floats 0 to 1 with 8 bits, and the highest value of 16 bits."""
    from PIL import Image

    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F" and low >= 0 and high <= 1:
        return Image.fromarray(np.rint(values * 255).astype(np.uint8)), None
    # Of the formats with mode I, PPM alone means 16 bits by it.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return Image.fromarray((values >> 8).astype(np.uint8)), int(high)
    kind = "floats" if image.mode == "F" else "whole numbers of 32 bits"
    raise BadPictureError(
        f"has {kind} from {low:g} to {high:g}, whose range is unknown; 8 or 16 bits, or floats from 0 to 1, "
        "are read"
    )
