"""Kernels are compiled once, kept, and used only if they give the right values."""

import subprocess

import pytest
import torch

from tiebreak import kernels
from tiebreak.kernels import pooling
from tiebreak.kernels.adam import load_adam
from tiebreak.kernels.convolution import load_convolution
from tiebreak.kernels.gather import load_gather
from tiebreak.kernels.library import compile_library
from tiebreak.kernels.pooling import load_pooling

needs_compiler = pytest.mark.skipif(load_pooling() is None, reason="needs a C++ compiler")


LOADERS = (load_adam, load_convolution, load_gather, load_pooling)


@pytest.fixture
def loaded_anew():
    for loader in LOADERS:
        loader.cache_clear()
    yield
    for loader in LOADERS:
        loader.cache_clear()


def test_without_a_compiler_the_twins_compute(monkeypatch, tmp_path, loaded_anew):
    images = torch.randn(2, 5, 6, 6, generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [loader() for loader in LOADERS] == [None] * 4
    assert torch.equal(kernels.max_pool_relu(images), kernels.max_pool_relu_twin(images))
    assert not kernels.kernels_are_compiled()


@needs_compiler
def test_kernels_can_be_switched_off(monkeypatch, loaded_anew):
    monkeypatch.setenv("TIEBREAK_KERNELS", "off")
    assert [loader() for loader in LOADERS] == [None] * 4
    assert not kernels.has_adam()
    assert not kernels.has_convolution(torch.float32)


@needs_compiler
def test_what_was_compiled_is_kept_and_a_broken_source_is_told(tmp_path):
    first = compile_library(pooling.SOURCE, tmp_path)
    made = first.stat().st_mtime_ns
    assert compile_library(pooling.SOURCE, tmp_path) == first
    assert first.stat().st_mtime_ns == made
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    broken = tmp_path / "broken.cpp"
    broken.write_text("this is not C++")
    with pytest.raises(subprocess.CalledProcessError):
        compile_library(broken, tmp_path)


@needs_compiler
def test_kernels_that_give_other_values_are_left_unused(monkeypatch, tmp_path, caplog, loaded_anew):
    wrong = tmp_path / "wrong.cpp"
    source = pooling.SOURCE.read_text()
    wrong.write_text(source.replace("(value > most)", "(value < most)"))
    assert wrong.read_text() != source
    monkeypatch.setattr(pooling, "SOURCE", wrong)
    assert load_pooling() is None
    assert "Compiled wrong gives other values than PyTorch" in caplog.text
