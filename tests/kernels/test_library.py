"""Kernels are compiled once, kept, and used only if they give the right values."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tiebreak import kernels
from tiebreak.errors import TiebreakError
from tiebreak.kernels import library, pooling
from tiebreak.kernels.adam import load_adam
from tiebreak.kernels.convolution import load_convolution
from tiebreak.kernels.gather import load_gather
from tiebreak.kernels.library import compile_library
from tiebreak.kernels.pooling import load_pooling
from tiebreak.training.precision import cpu_flags

needs_compiler = pytest.mark.skipif(load_pooling() is None, reason="needs a C++ compiler")


HAS_COMPILER = any(map(shutil.which, library.COMPILERS))
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


@pytest.mark.skipif(not HAS_COMPILER, reason="needs a C++ compiler")
def test_where_there_is_a_compiler_all_kernels_are_compiled_and_right():
    assert kernels.kernels_are_compiled()
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpu_flags(cpuinfo.read_text()) if cpuinfo.is_file() else frozenset()
    avx512 = {"avx512f", "avx512bw", "avx512vl"} <= flags
    assert kernels.has_convolution(torch.float32) == avx512
    assert kernels.has_convolution(torch.bfloat16) == (avx512 and "avx512_bf16" in flags)


@needs_compiler
def test_with_fewer_threads_than_asked_for_all_is_computed():
    code = """
import torch
from tiebreak import kernels
from tiebreak.errors import TiebreakError
torch.set_num_threads(2)
images = torch.randn(6, 3, 8, 8).to(memory_format=torch.channels_last)
assert torch.equal(kernels.max_pool_relu(images), kernels.max_pool_relu_twin(images))
parameter, zeros = torch.zeros(32_000), torch.zeros(32_000)
settings = kernels.AdamSettings(
    lr=1.0, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False
)
kernels.adam_update(parameter, torch.ones(32_000), zeros, zeros.clone(), None, 1, settings)
assert parameter.ne(0).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"OMP_THREAD_LIMIT": "1"})


@needs_compiler
def test_kernels_can_be_switched_off(monkeypatch, loaded_anew):
    monkeypatch.setenv("TIEBREAK_KERNELS", "off")
    assert [loader() for loader in LOADERS] == [None] * 4
    assert not kernels.has_adam()
    assert not kernels.has_convolution(torch.float32)
    monkeypatch.setenv("TIEBREAK_KERNELS", "0")
    load_pooling.cache_clear()
    with pytest.raises(TiebreakError, match=r'^TIEBREAK_KERNELS must be on or off, got "0"\.$'):
        load_pooling()


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
