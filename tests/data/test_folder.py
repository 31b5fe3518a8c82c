import os
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tiebreak.data.catalog import load_dataset
from tiebreak.data.folder import _BadImage, read_image
from tiebreak.errors import DataError


def picture(number=0, size=(6, 5), mode="RGB"):
    generator = np.random.default_rng(number)
    channels = () if mode == "L" else (len(mode),)
    return Image.fromarray(generator.integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8))


def make(root, parts=("train", "test"), mode="RGB", count=4, suffix=".png"):
    for part in parts:
        for label, name in enumerate(["cat", "dog"]):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                picture(10 * label + number, mode=mode).save(root / part / name / f"{number}{suffix}")
    return root


def load(root, **options):
    return load_dataset(f"folder:{root}", **options)


def test_reads_images_class_by_class(tmp_path):
    data = load(make(tmp_path / "pets"))
    assert data.name == "folder:pets" and data.class_names == ("cat", "dog") and data.notes == ()
    assert data.train_labels.tolist() == [0] * 4 + [1] * 4 and data.image_shape == (3, 5, 6)
    assert np.array_equal(data.train_images[5].numpy(), np.asarray(picture(11)).transpose(2, 0, 1))


def test_all_grey_images_stay_one_channel_and_a_coloured_one_makes_all_rgb(tmp_path):
    make(tmp_path, mode="L")
    assert load(tmp_path).image_shape == (1, 5, 6)
    picture().save(tmp_path / "train" / "dog" / "9.png")
    data = load(tmp_path)
    assert data.image_shape == (3, 5, 6)
    assert (data.train_images[0, 0] == data.train_images[0, 2]).all()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".ppm"])
def test_lossless_formats_give_the_same_pixels(tmp_path, suffix):
    options = {"lossless": True} if suffix == ".webp" else {}
    picture().save(tmp_path / f"a{suffix}", **options)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}", None), np.asarray(picture()))


@pytest.mark.parametrize("suffix", [".jpg", ".gif"])
def test_lossy_formats_are_read(tmp_path, suffix):
    assert load(make(tmp_path, suffix=suffix)).image_shape[1:] == (5, 6)


def test_without_test_part_a_stratified_one_is_split_off_and_noted(tmp_path):
    data = load(make(tmp_path / "pets", parts=["train"], count=10), test_fraction=0.3)
    assert data.test_labels.bincount().tolist() == [3, 3] and len(data.train) == 14
    assert data.notes == (
        "folder:pets has no test part of its own: 6 of 20 images were split off (stratified, seed 0)",
    )


def test_resize_equals_pillows_bilinear(tmp_path):
    data = load(make(tmp_path), resize=3)
    expected = np.asarray(picture(0).resize((3, 3), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(data.train_images[0].numpy(), expected)


def test_hidden_files_are_left_alone(tmp_path):
    make(tmp_path)
    for litter in ("train/.DS_Store", "train/cat/Thumbs.db", "train/cat/.hidden"):
        (tmp_path / litter).write_text("x")
    assert len(load(tmp_path).train) == 8


def png_that_announces(root, width, height):
    """A small PNG whose header was changed to another size."""
    path = root / "small.png"
    picture().save(path)
    content = path.read_bytes()
    path.unlink()
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + content[24:29]
    return content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]


def cut_png(root):
    path = root / "cut.png"
    picture(size=(40, 40)).save(path)
    content = path.read_bytes()
    path.unlink()
    return content[: len(content) // 2]


def sixteen_bits(root):
    path = root / "deep.png"
    Image.fromarray(np.full((5, 6), 40_000, np.uint16)).save(path)
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
    "deep.png": (sixteen_bits, "has Pillow's mode I;16, expected 8 bits a channel"),
    "notes.txt": (lambda root: b"hello", "is not named like an image"),
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
    assert data.notes == (f"folder:pets: 1 unreadable images were skipped, the first: {shown}",)


def remove_tree(path):
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


LAYOUTS = {
    "no train": (lambda root: (root / "train").rename(root / "training"), "has no folder train"),
    "one class": (
        lambda root: remove_tree(root / "train/dog"),
        "has 1 class folders, a classifier needs at least 2",
    ),
    "empty class": (lambda root: (root / "train/fox").mkdir(), "'train/fox/' holds no images"),
    "image beside classes": (lambda root: (root / "train/a.png").touch(), "'train/a.png' is no folder"),
    "folder in a class": (lambda root: (root / "train/cat/x").mkdir(), "'train/cat/x' is no plain file"),
    "pipe": (lambda root: os.mkfifo(root / "train/cat/x.png"), "'train/cat/x.png' is no plain file"),
    "dangling link": (lambda root: (root / "train/cat/x.png").symlink_to("gone"), "is no plain file"),
    "class only in test": (
        lambda root: (root / "test/dog").rename(root / "test/dogs"),
        'no train/dogs. Did you mean "dog"',
    ),
    "other size": (
        lambda root: picture(size=(7, 7)).save(root / "test/dog/x.png"),
        "6 x 5 pixels, 'test/dog/x.png' 7 x 7. .*--resize 5",
    ),
    "unprintable class": (
        lambda root: (root / "train/cat").rename(root / "train/c\nt"),
        "has no train|cannot be printed",
    ),
}


@pytest.mark.parametrize(("change", "message"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_wrong_layout_is_one_line_that_says_where(tmp_path, change, message):
    change(make(tmp_path))
    with pytest.raises(DataError, match=message) as e:
        load(tmp_path)
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": 0}, "resize must be 1 to 4096 pixels, got 0"),
        ({"test_fraction": 1.0}, "test_fraction must lie between 0 and 1, got 1.0"),
    ],
)
def test_an_option_out_of_range_is_said(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        load(make(tmp_path, parts=["train"]), **options)


@given(
    st.sampled_from(["PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM"]),
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 200),
)
def test_mutated_images_are_read_or_found_bad(tmp_path, kind, changes, cut):
    path = tmp_path / "a.png"
    picture(size=(12, 9)).save(path, kind)
    content = bytearray(path.read_bytes())
    content = content[: max(4, len(content) - cut)] if cut % 2 else content
    for position, byte in changes:
        content[position % len(content)] = byte
    path.write_bytes(content)
    try:
        pixels = read_image(path, 4)
    except _BadImage as why:
        assert len(str(why).splitlines()) == 1
    else:
        assert pixels.shape[:2] == (4, 4) and pixels.dtype == np.uint8
