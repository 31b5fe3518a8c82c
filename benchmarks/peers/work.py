"""What every tool is given: settings, images in memory, and where it tells its result. Needs NumPy alone."""

import json
import sys
from dataclasses import dataclass

import numpy as np

BATCH_SIZE = 128


@dataclass(frozen=True, kw_only=True)
class Settings:
    model: str  # mlp or cnn
    threads: int
    epochs: int
    images: int
    variant: str


def read_settings() -> Settings:
    return Settings(**json.loads(sys.argv[1]))


def random_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Normalised images (N, 3, 32, 32) in float32, and labels in int64."""
    generator = np.random.default_rng(0)
    images = generator.standard_normal((count, 3, 32, 32), dtype=np.float32)
    return images, generator.integers(0, 10, count)


def tell(params: int, seconds: list[float]) -> None:
    """Seconds: of each epoch."""
    print(json.dumps({"params": int(params), "seconds": seconds}))
