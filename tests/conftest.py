"""What every test relies on: random generators left alone, a cache of its own, and the real CIFAR-10."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rich.style
import torch
from beartype._check.code import codemain
from filelock import FileLock
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

# Two libraries draw from Python's global generator for purposes of their own: beartype to look at a random
# item of a container, rich to number its styles.
codemain.getrandbits = rich.style.getrandbits = random.Random(0).getrandbits

# A job that a script starts in the background ignores Ctrl-C, and so would programs that tests send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Files are written and global generators compared around all examples of a test, which is meant.
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile("quick", max_examples=60, deadline=None, suppress_health_check=CHECKS)
settings.register_profile("thorough", max_examples=10_000, deadline=None, suppress_health_check=CHECKS)
settings.load_profile(os.environ.get("TIEBREAK_HYPOTHESIS", "quick"))


@pytest.fixture(autouse=True)
def global_rng_untouched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whoever draws from a global generator makes two runs depend on each other."""
    if request.node.get_closest_marker("draws_globally"):
        yield
        return
    python, numpy, pytorch = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    yield
    assert random.getstate() == python, "draw from random.Random(seed)"
    after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(numpy, after, strict=True)), (
        "draw from np.random.default_rng(seed)"
    )
    assert torch.equal(torch.get_rng_state(), pytorch), "draw from tiebreak.rng.stream or global_stream"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees what another, or the user, has prepared."""
    cache = tmp_path_factory.mktemp("cache")
    # All but the compiled kernels, which take a second to make and depend on nothing that a test changes.
    kernels = tmp_path_factory.getbasetemp() / "kernels"
    kernels.mkdir(exist_ok=True)
    (cache / "kernels").symlink_to(kernels)
    monkeypatch.setenv("TIEBREAK_CACHE", str(cache))
    return cache


@pytest.fixture(autouse=True)
def no_early_fork_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command ends with its process, and its fork server too; a test that calls `main` goes on."""
    monkeypatch.setattr("tiebreak.study.where.fork_server.start_early", lambda entry, threads: None)


def _unpacked_cifar10(options: list[str]) -> Path:
    named = os.environ.get("TIEBREAK_CIFAR10")
    if named:
        return Path(named)
    unpack = ROOT.parent / "shared" / "data" / "unpack"
    if not unpack.is_file():
        pytest.skip("needs the real CIFAR-10: set TIEBREAK_CIFAR10 to an unpacked copy")
    target = ROOT / ".cache" / "cifar10"
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(target / ".lock"):  # several test processes may want it at once
        subprocess.run([sys.executable, str(unpack), str(target), *options], check=True, capture_output=True)
    return target


@pytest.fixture(scope="session")
def cifar10_binary_dir() -> Path:
    """A folder that holds cifar-10-batches-bin."""
    folder = _unpacked_cifar10([])
    if not (folder / "cifar-10-batches-bin").is_dir():
        pytest.skip(f"needs cifar-10-batches-bin in {folder}")
    return folder


@pytest.fixture(scope="session")
def cifar10_folder_dir() -> Path:
    """A folder that holds train/<class>/*.png and test/<class>/*.png."""
    folder = _unpacked_cifar10(["--folder"]) / "images"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder
