"""How one picture is seen: its format, colours, depth, tags; and what is no picture."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from picture_folder import DOUBLES, load, make, picture, png_that_announces
from PIL import Image, ImageCms, ImageOps

from tiebreak.data.pictures import BadPictureError, read_header, read_picture
from tiebreak.errors import DataError


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".ppm"])
def test_lossless_formats_give_the_same_pixels(tmp_path, suffix):
    options = {"lossless": True} if suffix == ".webp" else {}
    picture().save(tmp_path / f"a{suffix}", **options)
    pixels, _ = read_picture(tmp_path / f"a{suffix}")
    assert np.array_equal(pixels, np.asarray(picture()))


@pytest.mark.parametrize("suffix", [".jpg", ".jfif", ".gif", ".avif"])
def test_lossy_formats_are_read(tmp_path, suffix):
    assert load(make(tmp_path, suffix=suffix)).image_shape[1:] == (5, 6)


def ink(mode):
    """A black bar on transparent paper, and the same on white."""
    alpha = np.zeros((5, 6), np.uint8)
    alpha[2:4] = 255
    alpha[1] = 128
    if mode == "P":
        image = Image.fromarray((alpha == 255).astype(np.uint8))
        image.putpalette([0, 0, 0, 0, 0, 0])
        alpha[1] = 0
        return image, 255 - alpha, {"transparency": bytes([0, 255])}
    channels = [np.zeros_like(alpha)] * (len(mode) - 1)
    return Image.fromarray(np.stack([*channels, alpha], axis=2)), 255 - alpha, {}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_over_white_and_is_told(tmp_path, mode):
    root = make(tmp_path / "pets", mode="L" if mode == "LA" else "RGB")
    image, expected, options = ink(mode)
    image.save(root / "train/cat/0.png", **options)
    data = load(root)
    assert (data.train_images[0].numpy() == expected).all() and data.image_shape[0] == (
        1 if mode == "LA" else 3
    )
    assert "folder:pets: 1 of 16 images have transparent pixels, laid over white" in data.notes


def test_a_picture_that_could_be_transparent_and_is_not_needs_no_note(tmp_path):
    root = make(tmp_path)
    opaque = picture().convert("RGBA")
    opaque.save(root / "train/cat/0.png")
    data = load(root)
    assert data.notes == (DOUBLES.replace("pets", tmp_path.name),)
    assert np.array_equal(data.train_images[0].numpy(), np.asarray(picture()).transpose(2, 0, 1))


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_pictures_are_turned_as_their_tags_say(tmp_path, orientation, suffix):
    image, exif = picture(), Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"a{suffix}", exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / f"a{suffix}")))
    pixels, decisions = read_picture(tmp_path / f"a{suffix}")
    header = read_header(tmp_path / f"a{suffix}")
    assert np.array_equal(pixels, expected) and decisions.turned
    assert (header.height, header.width) == expected.shape[:2] == pixels.shape[:2]
    assert expected.shape[:2] == ((6, 5) if orientation >= 5 else (5, 6))


def test_turned_pictures_are_counted_and_their_size_known_beforehand(tmp_path):
    """One lies on its side in the file: as seen, all have one size."""
    root, exif = make(tmp_path / "pets"), Image.Exif()
    exif[0x0112] = 6
    picture().transpose(Image.Transpose.ROTATE_90).save(root / "train/cat/0.png", exif=exif)
    data = load(root)
    assert np.array_equal(data.train_images[0].numpy(), np.asarray(picture()).transpose(2, 0, 1))
    assert "folder:pets: 1 of 16 images were turned as their tags (EXIF) say" in data.notes


def test_damaged_tags_are_no_tags(tmp_path):
    picture().save(tmp_path / "a.jpg", exif=b"Exif\0\0nonsense", quality=95)
    pixels, decisions = read_picture(tmp_path / "a.jpg")
    assert pixels.shape == (5, 6, 3) and not decisions.turned


DEEP = np.arange(30, dtype=np.uint16).reshape(5, 6) * 257


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bits_become_8_and_are_told(tmp_path, suffix):
    root = make(tmp_path / "pets", mode="L", suffix=".bmp")
    (root / "train/cat/0.bmp").unlink()
    Image.fromarray(DEEP).save(root / f"train/cat/0{suffix}")
    data = load(root)
    assert np.array_equal(data.train_images[0, 0].numpy(), DEEP >> 8)
    note = (
        "16 bits a channel of 1 images were scaled from 0..65,535 to 0..255 (the highest value found: 7,453)"
    )
    assert f"folder:pets: {note}" in data.notes


def test_floats_from_0_to_1_are_taken_as_such(tmp_path):
    values = np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 6)
    Image.fromarray(values).save(tmp_path / "a.tif")
    pixels, decisions = read_picture(tmp_path / "a.tif")
    assert np.array_equal(pixels, np.rint(values * 255)) and decisions.was_floats
    root = make(tmp_path / "pets", mode="L")
    (tmp_path / "a.tif").rename(root / "train/cat/a.tif")
    assert "folder:pets: 1 of 17 images are floats from 0 to 1, scaled to 0..255" in load(root).notes


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.full((5, 6), 300.5, np.float32), "floats from 300.5 to 300.5"),
        (np.full((5, 6), -0.1, np.float32), "floats from -0.1"),
        (np.full((5, 6), np.nan, np.float32), "floats from nan"),
        (np.full((5, 6), 70_000, np.int32), "whole numbers of 32 bits from 70000 to 70000"),
    ],
)
def test_numbers_without_a_known_range_are_refused(tmp_path, values, found):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(BadPictureError, match=f"has {found}.*, whose range is unknown; 8 or 16 bits"):
        read_picture(tmp_path / "a.tif")


def test_other_kinds_of_colour_look_alike(tmp_path):
    """CMYK and LAB come close to the colours they were made of, 1 bit and grey are exact."""
    smooth = np.stack(
        [*np.meshgrid(np.linspace(40, 200, 16), np.linspace(60, 180, 16)), np.full((16, 16), 90.0)], 2
    )
    colour = Image.fromarray(smooth.astype(np.uint8))
    colour.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    ImageCms.profileToProfile(colour, *profiles, outputMode="LAB").save(tmp_path / "lab.tif")
    for name in ("cmyk.jpg", "lab.tif"):
        pixels, _ = read_picture(tmp_path / name)
        assert np.abs(pixels.astype(int) - np.asarray(colour)).mean() < 3
    bits = np.eye(5, 6, dtype=bool)
    Image.fromarray(bits).save(tmp_path / "bits.png")
    assert np.array_equal(read_picture(tmp_path / "bits.png")[0], bits * np.uint8(255))


def cut_png(root):
    path = root / "cut.png"
    picture().save(path)
    content = path.read_bytes()
    path.unlink()
    return content[: len(content) // 2]


def deep_tiff(root):
    path = root / "deep.tif"
    Image.fromarray(np.array([[0, 70_000]] * 3, np.int32).repeat(3, 0)[:5].repeat(3, 1)).save(path)
    content = path.read_bytes()
    path.unlink()
    return content


BAD = {
    "bad.png": (lambda root: b"hello", "is no image of a known format"),
    "empty.jpg": (lambda root: b"", "is no image of a known format"),
    "cut.png": (cut_png, "is damaged or cut short"),
    "bomb.png": (
        lambda root: png_that_announces(root, 60_000, 60_000),
        "announces more pixels than Pillow opens",
    ),
    "large.png": (
        lambda root: png_that_announces(root, 10_000, 10_000),
        "announces more pixels|is too large",
    ),
    "deep.tif": (deep_tiff, "has whole numbers of 32 bits from 0 to 70000, whose range is unknown"),
    "photo.heic": (lambda root: b"hello", "is no image of a known format"),
    "eps.png": (
        lambda root: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "is no image of a known format",
    ),
    "line\nbreak.png": (lambda root: b"hello", "is no image of a known format"),
}


@pytest.mark.parametrize(("name", "content", "message"), [(name, *case) for name, case in BAD.items()])
def test_a_bad_image_is_named_and_refused_or_skipped_and_counted(tmp_path, name, content, message):
    make(tmp_path / "pets")
    (tmp_path / "pets" / "train" / "cat" / name).write_bytes(content(tmp_path))
    with pytest.raises(DataError, match=message) as e:
        load(tmp_path / "pets")
    assert repr(f"train/cat/{name}") in str(e.value) and "--skip-bad-images" in str(e.value)
    assert len(str(e.value).splitlines()) == 1
    data = load(tmp_path / "pets", skip_bad_images=True)
    assert len(data.train) == 8
    shown = repr(f"train/cat/{name}")
    assert data.notes == (f"folder:pets: 1 unreadable image was skipped, the first: {shown}", DOUBLES)


@given(
    st.sampled_from(["PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM", "AVIF"]),
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 200),
)
@example("AVIF", [(147, 1)], 0)  # its decoder raises what others do not
def test_mutated_images_are_read_or_found_bad(tmp_path, kind, changes, cut):
    path = tmp_path / "a.png"
    picture(size=(12, 9)).save(path, kind)
    content = bytearray(path.read_bytes())
    content = content[: max(4, len(content) - cut)] if cut % 2 else content
    for position, byte in changes:
        content[position % len(content)] = byte
    path.write_bytes(content)
    try:
        header = read_header(path)
        pixels, _ = read_picture(path)
        scaled, _ = read_picture(path, (4, 3))
    except BadPictureError as why:
        assert len(str(why).splitlines()) == 1
    else:
        assert pixels.shape[:2] == (header.height, header.width) and pixels.dtype == np.uint8
        assert scaled.shape[:2] == (3, 4) and (pixels.ndim == 2) == header.grey
