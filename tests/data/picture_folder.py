"""A small folder of pictures, two classes in each part."""

import zlib

import numpy as np
from PIL import Image

from tiebreak.data.catalog import load_dataset

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


def png_that_announces(root, width, height):
    """A small PNG whose header was changed to another size."""
    path = root / "small.png"
    picture().save(path)
    content = path.read_bytes()
    path.unlink()
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + content[24:29]
    return content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]
