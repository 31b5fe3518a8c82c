"""What the tests of this folder train on, and a file of models that misbehave."""

from pathlib import Path

import pytest
from small_tasks import USER_MODELS

from tiebreak.data.dataset import ImageDataset
from tiebreak.data.digits import digits_source


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return digits_source(0.2).build()


@pytest.fixture
def models(tmp_path: Path) -> str:
    """A file of a user's own models."""
    path = tmp_path / "models.py"
    path.write_text(USER_MODELS)
    return str(path)
