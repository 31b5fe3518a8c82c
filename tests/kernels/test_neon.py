"""The kernels compiled for ARM, on an emulated processor, give what PyTorch gives here."""

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from project_setup import FLAGS, VARIANTS
from tiebreak import kernels
from tiebreak.kernels.adam import _numbers
from tiebreak.kernels.convolution import values_and_gradients

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
SOURCES = Path(__file__).parents[2] / "src/tiebreak/kernels"

pytestmark = pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR)),
    reason=f"needs {COMPILER} and {EMULATOR} (Debian: g++-aarch64-linux-gnu, qemu-user)",
)

KERNELS = ("adam", "convolution", "plain_convolution", "pooling")

Run = Callable[..., list[Tensor]]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Calls a kernel by its name with tensors and sizes; gives the tensors as it left them."""
    program = tmp_path_factory.mktemp("neon") / "driver"
    files = [Path(__file__).with_name("driver.cpp"), *(SOURCES / f"{name}.cpp" for name in KERNELS)]
    flags = [*FLAGS, *VARIANTS["aarch64"]["neon"], "-static", f"-I{SOURCES}"]
    subprocess.run([COMPILER, *flags, *map(str, files), "-o", str(program)], check=True)

    def run(name: str, tensors: list[Tensor], *sizes: int) -> list[Tensor]:
        blocks = [tensor.flatten().view(torch.uint8).numpy().tobytes() for tensor in tensors]
        sent = struct.pack("<2q", len(blocks), len(sizes))
        sent += b"".join(struct.pack("<q", len(block)) + block for block in blocks)
        done = subprocess.run(
            [EMULATOR, str(program), name],
            input=sent + struct.pack(f"<{len(sizes)}q", *sizes),
            capture_output=True,
            check=True,
        )
        got = torch.frombuffer(bytearray(done.stdout), dtype=torch.uint8).split(
            [len(block) for block in blocks]
        )
        return [
            part.clone().view(tensor.dtype).view(tensor.shape)
            for part, tensor in zip(got, tensors, strict=True)
        ]

    return run


def last(tensor: Tensor) -> Tensor:
    """In the order of memory that the kernels want: channels innermost, as a dimension."""
    return tensor.permute(0, 2, 3, 1).contiguous()


def first(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 3, 1, 2)


def strides(weight: Tensor) -> Tensor:
    return torch.tensor(weight.stride())


def convolved(
    run: Run, images: Tensor, weight: Tensor, bias: Tensor, gradient: Tensor, threads: int
) -> list[Tensor]:
    """Outputs, and the gradients of images, weight and bias."""
    count, channels, height, width = images.shape
    filters, pooled = len(weight), (count, height // 2, width // 2, len(weight))
    sizes = (count, height, width, channels, filters, threads)
    given = [last(images), weight, strides(weight), bias]
    empty = [torch.full(pooled, 7.0), torch.full(pooled, 7, dtype=torch.uint8)]
    *_, outputs, source = run("conv_relu_pool_float32", given + empty, *sizes)
    given = [last(gradient), source, weight, strides(weight), torch.full_like(last(images), 7.0)]
    of_images = run("conv_relu_pool_images_float32", given, *sizes)[4]
    given = [
        last(gradient),
        source,
        last(images),
        torch.full_like(weight, 7.0),
        strides(weight),
        bias.clone(),
    ]
    *_, of_weight, _, of_bias = run("conv_relu_pool_filters_float32", given, *sizes)
    return [first(outputs), first(of_images), of_weight, of_bias]


def plainly_convolved(
    run: Run, images: Tensor, weight: Tensor, bias: Tensor, gradient: Tensor, threads: int
) -> list[Tensor]:
    """The same of the convolution alone."""
    count, channels, height, width = images.shape
    sizes = (count, height, width, channels, len(weight), threads)
    given = [last(images), weight, strides(weight), bias, torch.zeros_like(last(gradient))]
    outputs = run("conv3x3_float32", given, *sizes)[4]
    given = [last(gradient), weight, strides(weight), torch.zeros_like(last(images))]
    of_images = run("conv3x3_images_float32", given, *sizes)[3]
    given = [last(gradient), last(images), torch.zeros_like(weight), strides(weight)]
    of_weight = run("conv3x3_filters_float32", given, *sizes)[2]
    return [first(outputs), first(of_images), of_weight]


SIZES = [(2, 3, 32, 8, 8, 1), (3, 33, 50, 9, 7, 2), (1, 16, 5, 4, 13, 1), (1, 1, 1, 2, 2, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pooled", [True, False])
def test_convolution_and_its_gradients(run, size, pooled):
    count, channels, filters, height, width, threads = size
    outputs = (count, filters, height // 2, width // 2) if pooled else (count, filters, height, width)
    shapes = ((count, channels, height, width), (filters, channels, 3, 3), (filters,), outputs)
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator) for shape in shapes]
    images, weight, bias, gradient = (tensor.sign() for tensor in drawn)
    whole = [images, weight * (drawn[1].abs() > 1.5) * 4, bias, gradient]
    twin = kernels.conv_relu_pool_twin if pooled else kernels.conv3x3_twin
    compute = convolved if pooled else plainly_convolved
    for tensors, error in ((drawn, 1e-6), (whole, 0.0)):  # of whole numbers nothing is rounded
        exact = values_and_gradients(twin, tuple(t.double() for t in tensors[:3]), tensors[3].double())
        for got, expected in zip(compute(run, *tensors, threads), exact, strict=False):
            assert (got.double() - expected).norm() <= error * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 7, 32, 45])
@pytest.mark.parametrize("special", [0.0, float("nan"), float("inf")])
def test_pooling_and_its_gradient(run, dtype, channels, special):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(-3, 4, (2, channels, 5, 6), generator=generator).to(dtype)
    images[torch.rand(images.shape, generator=generator) < 0.1] = special
    gradient = torch.randn((2, channels, 2, 3), generator=generator).to(dtype)
    leaf = images.clone().requires_grad_()
    expected = kernels.max_pool_relu_twin(leaf)
    expected.backward(gradient)
    name, sizes = str(dtype).removeprefix("torch."), (2, 5, 6, channels, 1)
    empty = [torch.zeros_like(last(gradient)), torch.zeros(last(gradient).shape, dtype=torch.uint8)]
    _, pooled, source = run(f"pool_relu_{name}", [last(images), *empty], *sizes)
    assert torch.equal(first(pooled).nan_to_num(nan=99.0), expected.detach().nan_to_num(nan=99.0))
    given = [last(gradient), source, torch.zeros_like(last(images))]
    assert torch.equal(first(run(f"pool_relu_backward_{name}", given, *sizes)[2]), leaf.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("decay", "decoupled"), [(0.0, False), (0.05, False), (0.05, True)])
def test_an_update_by_adam(run, dtype, decay, decoupled):
    generator = torch.Generator().manual_seed(0)
    settings = kernels.AdamSettings(
        lr=1e-2, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=decay, decoupled_weight_decay=decoupled
    )
    parameter, average, square = torch.rand(3, 1_008, generator=generator)
    gradient = torch.randn(1_008, generator=generator).to(dtype)
    numbers = torch.tensor(list(_numbers(3, settings)))
    given = [parameter, gradient, average, square, numbers]
    got = run(f"adam_{str(dtype).removeprefix('torch.')}", given, 1_008, 2)
    kernels.adam_update_twin(parameter, gradient, average, square, 3, settings)
    for mine, expected in zip((got[0], got[2], got[3]), (parameter, average, square), strict=True):
        assert torch.equal(mine, expected)
