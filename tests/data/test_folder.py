import os
import zlib

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from tiebreak.data import memory
from tiebreak.data.catalog import load_dataset
from tiebreak.data.pictures import BadPictureError, read_header, read_picture
from tiebreak.errors import DataError

# Both parts of `make` hold the same pictures.
DOUBLES = "folder:pets: 8 of 8 test images are in the training part too, pixel for pixel"


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
    assert data.name == "folder:pets" and data.class_names == ("cat", "dog") and data.notes == (DOUBLES,)
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
    pixels, _ = read_picture(tmp_path / f"a{suffix}")
    assert np.array_equal(pixels, np.asarray(picture()))


@pytest.mark.parametrize("suffix", [".jpg", ".jfif", ".gif", ".avif"])
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


LITTER = {
    "train/.DS_Store": "'.DS_Store'",
    "train/cat/Thumbs.db": "'Thumbs.db'",
    "train/cat/Icon\r": r"'Icon\r'",
    "train/classes.txt": "'classes.txt'",
    "test/dog/notes": "'notes'",
    "train/.ipynb_checkpoints/0-checkpoint.png": "'.ipynb_checkpoints'",
    "train/__MACOSX/cat/._0.png": "'__MACOSX'",
    "train/cat/@eaDir/0.png": "'@eaDir'",
}


@pytest.mark.parametrize(("path", "shown"), LITTER.items())
def test_what_is_no_picture_is_left_out_and_named(tmp_path, path, shown):
    root = make(tmp_path / "pets")
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(b"hello")
    data = load(root)
    assert data.class_names == ("cat", "dog") and len(data.train) == len(data.test) == 8
    assert data.notes == (f"folder:pets: left out, as they are no pictures: {shown}", DOUBLES)


def test_a_picture_without_a_pictures_name_is_one(tmp_path):
    root = make(tmp_path / "pets")
    (root / "train/cat/0.png").rename(root / "train/cat/0")
    assert len(load(root).train) == 8


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Train", "validation", "TEST"), ("training", "Valid", "testing")],
)
def test_parts_are_known_by_several_names_and_val_is_used(tmp_path, train, val, test):
    data = load(make(tmp_path, parts=[train, val, test], count=2))
    assert len(data.train) == 8 and len(data.test) == 4 and data.val_size() == 4
    of_val = data.split(4, seed=3).val
    assert of_val.targets.tolist() == [0, 0, 1, 1] and of_val.indices.tolist() == [4, 5, 6, 7]


def test_without_a_test_part_none_of_the_validation_images_are_tested_on(tmp_path):
    make(tmp_path / "pets", parts=["train"], count=10)
    for name in ("cat", "dog"):
        (tmp_path / "pets/val" / name).mkdir(parents=True)
        picture(99, mode="RGB").save(tmp_path / "pets/val" / name / "0.png")
    data = load(tmp_path / "pets")
    assert (len(data.train), len(data.test), data.own_val) == (18, 4, 2)
    assert (data.train_images[-1] == data.train_images[-2]).all()
    assert "4 of 20 images were split off" in data.notes[0]


def test_a_part_that_becomes_another_is_read_anew(tmp_path):
    make(tmp_path, parts=["train", "val"], count=10)
    assert load(tmp_path).own_val == 20
    (tmp_path / "val").rename(tmp_path / "test")
    assert load(tmp_path).own_val == 0


def test_a_folder_that_is_no_part_is_named(tmp_path):
    make(tmp_path / "pets", parts=["train", "test", "extra"])
    assert load(tmp_path / "pets").notes == ("folder:pets: not used: 'extra'", DOUBLES)


def test_two_folders_for_one_part_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds Train and train: one of them must go|val and validation"):
        load(make(tmp_path, parts=["train", "val", "validation"]))


def test_classes_that_swap_their_names_are_read_anew(tmp_path):
    """Sizes and times of the files tell nothing here."""
    root = make(tmp_path, suffix=".bmp")
    for path in root.rglob("*.bmp"):
        os.utime(path, ns=(0, 0))
    before = load(root)
    for old, new in (("cat", "fox"), ("dog", "cat"), ("fox", "dog")):
        (root / "train" / old).rename(root / "train" / new)
    after = load(root)
    assert torch.equal(before.train_images[:4], after.train_images[4:])
    assert torch.equal(before.train_images[4:], after.train_images[:4])


def test_a_file_in_the_place_of_another_is_read_anew(tmp_path):
    """As a tool that keeps times copies it: same name, size and time of change."""
    root = make(tmp_path, suffix=".bmp")
    path = root / "train/cat/0.bmp"
    load(root)
    picture(77).save(tmp_path / "new.bmp")
    os.utime(tmp_path / "new.bmp", ns=(0, path.stat().st_mtime_ns))
    (tmp_path / "new.bmp").replace(path)
    assert np.array_equal(load(root).train_images[0].numpy(), np.asarray(picture(77)).transpose(2, 0, 1))


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


def test_large_photographs_are_refused_before_they_are_decoded(tmp_path):
    root = make(tmp_path)
    for part, height in (("train", 3_000), ("test", 2_999)):
        for path in (root / part).rglob("*.png"):
            path.write_bytes(png_that_announces(tmp_path, 4_000, height))  # 5 x 6 pixels, all told
    with pytest.raises(DataError, match=r"4000 x 3000 pixels, .* 4000 x 2999\. .* e\.g\. --resize 64\."):
        load(root)


def test_what_memory_cannot_hold_is_refused_with_a_size(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 2_000)
    root = make(tmp_path / "pets", count=3)  # 12 images of 90 bytes
    with pytest.raises(
        DataError, match=r"folder:pets: the images need .* more than half .* --resize 5 makes"
    ):
        load(root)
    assert load(root, resize=4).image_shape == (3, 4, 4)


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


def remove_tree(path):
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


LAYOUTS = {
    "no train": (lambda root: (root / "train").rename(root / "trained"), "has no folder train"),
    "one class": (
        lambda root: remove_tree(root / "train/dog"),
        "has 1 class folders, a classifier needs at least 2",
    ),
    "empty class": (lambda root: (root / "train/fox").mkdir(), "'train/fox/' holds no images"),
    "image beside classes": (lambda root: (root / "train/a.png").touch(), "'train/a.png' is no folder"),
    "folder in a class": (lambda root: (root / "train/cat/x").mkdir(), "'train/cat/x' is no plain file"),
    "pipe": (lambda root: os.mkfifo(root / "train/cat/x.png"), "'train/cat/x.png' is no plain file"),
    "class without pictures": (
        lambda root: [
            path.write_bytes(b"") or path.rename(path.with_suffix(""))
            for path in (root / "train/cat").iterdir()
        ],
        "no image of 'cat' can be trained on",
    ),
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
