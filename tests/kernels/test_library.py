"""Which library computes: the best that is there, unless it is wrong or another is asked for."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import project_setup
from kernel_variants import HOW_TO_BUILD
from tiebreak import kernels
from tiebreak.errors import TiebreakError
from tiebreak.kernels import adam, convolution, library, plain_convolution, pooling
from tiebreak.training.placement.precision import cpu_flags

SOURCES = project_setup.ROOT / "src/tiebreak/kernels"
COMPILER = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
LOADERS = {
    "adam": adam.load_adam,
    "convolution": convolution.load_convolution,
    "plain_convolution": plain_convolution.load_conv3x3,
    "pooling": pooling.load_pooling,
}

needs_kernels = pytest.mark.skipif(
    not kernels.usable_variants(), reason=f"no kernels are built: {HOW_TO_BUILD}"
)


@pytest.fixture
def libraries_in(monkeypatch):
    """Use libraries of another folder, and forget afterwards what was loaded from it."""
    caches = (library._choose, *(module._load for module in (adam, convolution, plain_convolution, pooling)))

    monkeypatch.delenv(library.SWITCH, raising=False)

    def use(folder: Path) -> None:
        monkeypatch.setattr(library, "FOLDER", folder)
        for cache in caches:
            cache.cache_clear()

    yield use
    for cache in caches:
        cache.cache_clear()


def test_without_libraries_the_twins_compute(tmp_path, libraries_in):
    libraries_in(tmp_path)
    images = torch.randn(2, 5, 6, 6, generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last)
    assert kernels.kernel_variant() is None
    assert [load() for load in LOADERS.values()] == [None] * len(LOADERS)
    assert torch.equal(kernels.max_pool_relu(images), kernels.max_pool_relu_twin(images))


@pytest.mark.skipif(COMPILER is None, reason="needs GCC or Clang")
@pytest.mark.parametrize("name", project_setup.variants())
def test_every_variant_is_built_of_these_sources(name):
    path = library.FOLDER / f"_{name}.so"
    assert path.is_file(), f"not built: {HOW_TO_BUILD}"
    made_of = ctypes.CDLL(str(path)).made_of
    made_of.restype = ctypes.c_char_p
    assert made_of().decode() == project_setup.made_of(SOURCES), f"built of other sources: {HOW_TO_BUILD}"


def test_the_build_and_the_package_know_the_same_variants():
    assert tuple(project_setup.variants()) == library.known_variants()


@needs_kernels
def test_the_best_variant_that_the_processor_has_computes(monkeypatch):
    monkeypatch.delenv(library.SWITCH, raising=False)
    assert kernels.kernel_variant() == kernels.usable_variants()[-1]
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpu_flags(cpuinfo.read_text()) if cpuinfo.is_file() else frozenset()
    if not flags:
        pytest.skip("needs a processor that tells its flags")
    avx2 = {"avx2", "fma", "bmi2"} <= flags
    avx512 = avx2 and {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags
    wanted = [True, avx2, avx512, avx512 and "avx512_bf16" in flags]
    assert kernels.usable_variants() == tuple(
        name for name, has in zip(project_setup.variants(), wanted, strict=True) if has
    )
    assert kernels.has_convolution(torch.float32)
    assert kernels.has_convolution(torch.bfloat16) == wanted[3]
    assert kernels.has_adam() == avx2


@needs_kernels
def test_kernels_can_be_switched_off_or_chosen(monkeypatch):
    for name in kernels.usable_variants():
        monkeypatch.setenv("TIEBREAK_KERNELS", name)
        assert kernels.kernel_variant() == name
        assert kernels.has_pooling()
    monkeypatch.setenv("TIEBREAK_KERNELS", "off")
    assert [load() for load in LOADERS.values()] == [None] * len(LOADERS)
    assert not kernels.has_adam()
    assert not kernels.has_convolution(torch.float32)
    monkeypatch.setenv("TIEBREAK_KERNELS", "0")
    names = ", ".join(("on", "off", *library.known_variants()))
    names = " or ".join(names.rsplit(", ", 1))
    with pytest.raises(TiebreakError, match=rf'^TIEBREAK_KERNELS must be {names}, got "0"\.$'):
        kernels.kernel_variant()


@needs_kernels
def test_a_variant_that_is_not_there_is_an_error_and_not_another_one(monkeypatch, tmp_path, libraries_in):
    first, *others = kernels.usable_variants()
    if not others:
        pytest.skip("needs a processor for which there is more than one variant")
    shutil.copy(library.FOLDER / f"_{first}.so", tmp_path)
    libraries_in(tmp_path)
    assert kernels.usable_variants() == (first,)
    monkeypatch.setenv("TIEBREAK_KERNELS", others[0])
    with pytest.raises(
        TiebreakError, match=rf"asks for {others[0]}, which .* has not; it has {first}\. Leave"
    ):
        kernels.kernel_variant()


@needs_kernels
def test_with_fewer_threads_than_asked_for_all_is_computed():
    code = """
import torch
from tiebreak import kernels
torch.set_num_threads(2)
images = torch.randn(6, 3, 8, 8).to(memory_format=torch.channels_last)
assert torch.equal(kernels.max_pool_relu(images), kernels.max_pool_relu_twin(images))
parameter, zeros = torch.zeros(32_000), torch.zeros(32_000)
settings = kernels.AdamSettings(
    lr=1.0, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False
)
kernels.adam_update(parameter, torch.ones(32_000), zeros, zeros.clone(), 1, settings)
assert parameter.ne(0).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"OMP_THREAD_LIMIT": "1"})


@needs_kernels
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of memory")
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_that_is_not_to_be_had_is_an_error_and_no_end_of_the_process(threads):
    code = f"""
import resource, torch
from tiebreak import kernels
torch.set_num_threads({threads})
images, weight, bias = torch.zeros(2, 1024, 24, 24), torch.zeros(1024, 1024, 3, 3), torch.zeros(1024)
images = images.to(memory_format=torch.channels_last)
kernels.conv_relu_pool(images[:, :16].contiguous(), weight[:16, :16].contiguous(), bias[:16])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (40 << 20), -1))
try:
    kernels.conv_relu_pool(images, weight, bias)
except MemoryError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "there is not enough memory for conv_relu_pool; a smaller batch needs less\n"


SLIPS = {
    "forward": ("winograd.hpp", "out[2] = in[2] - in[1];", "out[2] = in[2] + in[1];", "convolution"),
    "of images": ("winograd.hpp", "out[3] = Vector{} - in[3];", "out[3] = in[3];", "convolution"),
    "of filters": (
        "winograd.hpp",
        "out[1] = (in[1] - in[2]) * 0.5f;",
        "out[1] = (in[1] + in[2]) * 0.5f;",
        "convolution",
    ),
    "of outputs": (
        "plain_convolution.cpp",
        "out[2] = in[0] - in[1];",
        "out[2] = in[1] - in[0];",
        "plain_convolution",
    ),
    "pooling": ("pooling.cpp", "(value > most)", "(value < most)", "pooling"),
    "rounding": (
        "adam.cpp",
        "std::fma(s.beta2_rest * g, g, square[i] * s.beta2)",
        "s.beta2_rest * g * g",
        "adam",
    ),
}


@needs_kernels
@pytest.mark.skipif(COMPILER is None, reason="needs GCC or Clang")
@pytest.mark.parametrize("slip", SLIPS)
def test_a_kernel_with_a_slip_is_found_out_when_it_is_loaded(slip, tmp_path, caplog, libraries_in):
    file, right, wrong, kernel = SLIPS[slip]
    if kernel == "adam" and not kernels.has_adam():
        pytest.skip("this processor has no Adam")
    best, first = kernels.usable_variants()[-1], kernels.usable_variants()[0]
    for source in SOURCES.glob("*.?pp"):
        shutil.copy(source, tmp_path)
    text = (tmp_path / file).read_text()
    assert text.count(right) == 1
    (tmp_path / file).write_text(text.replace(right, wrong))
    flags = [*project_setup.flags(project_setup.variants()[best], tmp_path), "-shared", "-fPIC"]
    files = [str(tmp_path / f"{name}.cpp") for name in (kernel, "processor")]
    # The best variant's instructions under the first one's name, which is all that is there.
    subprocess.run([COMPILER, *flags, *files, "-o", str(tmp_path / f"_{first}.so")], check=True)
    assert LOADERS[kernel]() is not None
    libraries_in(tmp_path)
    assert LOADERS[kernel]() is None
    assert f"of variant {first} gives other values than PyTorch here; left unused." in caplog.text
