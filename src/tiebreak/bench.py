"""How fast this machine trains: the case study's loop written out plainly, and the same work by tiebreak.

All variants train the same architecture on the same images with the same batch size. They take turns, many
times over, and every round is compared within itself: what else the machine is doing meets all of them.

Shape letters: N images, B images of a batch, C channels, H height, W width.
"""

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from tiebreak.data.dataset import ImageDataset, Part, make_dataset
from tiebreak.kernels import load_kernels
from tiebreak.models.catalog import build_model
from tiebreak.report.tables import Table
from tiebreak.rng import global_stream, stream
from tiebreak.training.device import processor_name, thread_count
from tiebreak.training.loop import train_steps
from tiebreak.training.precision import (
    Placement,
    Precision,
    choose_placement,
    choose_precision,
    computing,
    prepare_batches,
    prepare_model,
)
from tiebreak.training.recipe import Recipe, make_criterion, make_optimizer

MODELS = ("mlp", "cnn")
BATCH_SIZE = 128
BENCH_IMAGES = 10_000  # at most; an epoch's speed does not depend on how many there are
CPU = torch.device("cpu")
CASE_STUDY, IN_MEMORY = "case study's loop", "in-memory tensors"
PEAK_SIZE = 1024  # rows and columns of the matrices whose product is the machine's peak


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long is measured."""

    rounds: int = 7
    seconds: float = 1.0  # of each variant in each round

    @classmethod
    def quick(cls) -> "Effort":
        return cls(rounds=3, seconds=0.3)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant of one model. The ratio is to the case study's loop in the same round."""

    model: str
    variant: str
    images_per_second: float  # median over rounds
    ratio: float  # median over rounds
    ratio_low: float
    ratio_high: float
    peak_share: float  # of the peak of its number format in the same round; median over rounds


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What was measured, and where."""

    rows: tuple[Row, ...]
    peak_gflops: dict[str, float]  # number format -> the best product seen, 1e9 operations a second
    auto: Precision  # what --precision auto chooses
    compiled_kernels: bool
    threads: int
    rounds: int
    images: str
    processor: str
    cores: int
    torch: str
    load: float | None  # of the machine at the start, in processes that want a core


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Something that trains, a batch at a `next`, inside its switches."""

    steps: Iterator[None]
    precision: Precision
    placement: Placement | None = None

    def step(self) -> None:
        with computing(self.placement) if self.placement else nullcontext():
            next(self.steps)


class OneByOne(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR10 does with ToTensor and Normalize: an image at a time, from a PIL image."""

    def __init__(self, part: Part) -> None:
        self.pixels = np.ascontiguousarray(part.images.numpy().transpose(0, 2, 3, 1))
        self.labels = part.labels.tolist()
        self.mean, self.std = part.mean, part.std

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "C H W"], int]:
        pixels = self.pixels[index]
        image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        return self.normalise(self.to_tensor(image)), self.labels[index]

    def to_tensor(self, image: Image.Image) -> Float[Tensor, "C H W"]:
        pixels = torch.from_numpy(np.array(image, copy=True))
        pixels = pixels.view(image.size[1], image.size[0], len(image.getbands()))
        return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)

    def normalise(self, image: Float[Tensor, "C H W"]) -> Float[Tensor, "C H W"]:
        mean, std = (torch.as_tensor(values, dtype=image.dtype) for values in (self.mean, self.std))
        return image.clone().sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


def case_study_steps(model: nn.Module, part: Part) -> Iterator[None]:
    """The case study's loop, without end."""
    order = torch.Generator().manual_seed(0)
    loader = DataLoader(OneByOne(part), BATCH_SIZE, shuffle=True, generator=order, drop_last=True)
    return plain_steps(model, itertools.chain.from_iterable(itertools.repeat(loader)))


def in_memory_steps(model: nn.Module, part: Part) -> Iterator[None]:
    """The same with all images normalised beforehand."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (part.mean, part.std))
    images = (part.images / 255 - mean) / std
    return plain_steps(model, _batches(images, part.labels))


def _batches(images: Float[Tensor, "N C H W"], labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    while True:
        for chosen in torch.randperm(len(images), generator=generator).split(BATCH_SIZE):
            if len(chosen) == min(BATCH_SIZE, len(images)):
                yield images[chosen], labels[chosen]


def plain_steps(model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """The training loop as tutorials write it."""
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    running_loss = correct = samples = 0.0
    for images, labels in batches:
        images, labels = images.to(CPU), labels.to(CPU)
        optimizer.zero_grad()
        logits = model(images)
        loss = criterion(logits, labels)
        loss.backward()
        optimizer.step()

        running_loss += loss.item() * labels.size(0)
        correct += (logits.argmax(dim=1) == labels).sum().item()
        samples += labels.size(0)
        yield


def tiebreak_steps(model: nn.Module, part: Part, placement: Placement) -> Iterator[None]:
    """What a run of a study does, without end."""
    prepared = prepare_model(model, placement)
    order = torch.Generator().manual_seed(0)
    batches = prepare_batches(part.batches(BATCH_SIZE, shuffle=True, generator=order), placement)
    recipe = Recipe()
    criterion, optimizer = make_criterion(recipe), make_optimizer(recipe, prepared)
    while True:
        # The last batch may be smaller; one in a whole epoch does not weigh.
        for _ in train_steps(prepared, batches, criterion, optimizer, CPU):
            yield


def random_images(count: int = BENCH_IMAGES) -> ImageDataset:
    """Images of CIFAR-10's size with random pixels: what they show does not change how long a step takes."""
    generator = stream(0, "bench")
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    classes = tuple(map(str, range(10)))
    return make_dataset("random", images, labels, images[:10], labels[:10], classes)


def run_bench(
    data: ImageDataset, threads: int = 1, effort: Effort | None = None, models: Sequence[str] = MODELS
) -> Bench:
    """Measure every variant of every model on the CPU.

    Raises: ModelError if a model cannot be built for this data.
    """
    effort = effort or Effort()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    part = Part(
        images=data.train_images[:BENCH_IMAGES].contiguous(),
        labels=data.train_labels[:BENCH_IMAGES],
        mean=data.mean,
        std=data.std,
    )
    rows: list[Row] = []
    peaks: dict[str, list[float]] = {"fp32": [], "bf16": []}
    with thread_count(threads), global_stream(0, "bench"):
        for model in models:
            rows += _measure(model, data, part, effort, peaks)
    return Bench(
        rows=tuple(rows),
        peak_gflops={name: max(seen) / 1e9 for name, seen in peaks.items()},
        auto=choose_precision("auto", CPU),
        compiled_kernels=load_kernels() is not None,
        threads=threads,
        rounds=effort.rounds,
        images=f"{data.name}, {' x '.join(map(str, data.image_shape))}",
        processor=processor_name(),
        cores=os.cpu_count() or 1,
        torch=torch.__version__,
        load=load,
    )


def _variants(model: str, data: ImageDataset, part: Part) -> dict[str, Variant]:
    make = partial(build_model, model, data.image_shape, data.num_classes)
    variants = {
        CASE_STUDY: Variant(steps=case_study_steps(make(), part), precision="fp32"),
        IN_MEMORY: Variant(steps=in_memory_steps(make(), part), precision="fp32"),
    }
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        network = make()
        placement = choose_placement(network, data.image_shape, CPU, precision)
        steps = tiebreak_steps(network, part, placement)
        variants[f"tiebreak {precision}"] = Variant(steps=steps, precision=precision, placement=placement)
    return variants


def _measure(
    model: str, data: ImageDataset, part: Part, effort: Effort, peaks: dict[str, list[float]]
) -> list[Row]:
    """The rows of one model; what the machine's peak was in each round is added to `peaks`."""
    variants = _variants(model, data, part)
    flops = step_flops(build_model(model, data.image_shape, data.num_classes), part)
    rates: dict[str, list[float]] = {name: [] for name in variants}  # steps a second, by round
    shares: dict[str, list[float]] = {name: [] for name in variants}
    for variant in variants.values():
        for _ in range(3):  # the first steps allocate memory and choose kernels
            variant.step()
    for turn in range(effort.rounds):
        peak = {precision: matrix_peak(precision) for precision in peaks}
        for precision, operations in peak.items():
            peaks[precision].append(operations)
        # Back and forth, so that no variant always comes after the same other.
        for name in list(variants)[:: 1 if turn % 2 == 0 else -1]:
            rates[name].append(_steps_a_second(variants[name], effort.seconds))
            shares[name].append(rates[name][-1] * flops / peak[variants[name].precision])
    batch = min(BATCH_SIZE, len(part))
    return [_row(model, name, rates[name], rates[CASE_STUDY], shares[name], batch) for name in variants]


def _row(
    model: str, name: str, rates: list[float], base: list[float], shares: list[float], batch: int
) -> Row:
    ratios = [rate / of_base for rate, of_base in zip(rates, base, strict=True)]
    return Row(
        model=model,
        variant=name,
        images_per_second=median(rates) * batch,
        ratio=median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        peak_share=median(shares),
    )


def _steps_a_second(variant: Variant, seconds: float) -> float:
    started = time.perf_counter()
    for steps in itertools.count(1):
        variant.step()
        if (passed := time.perf_counter() - started) >= seconds:
            return steps / passed
    raise AssertionError("itertools.count has no end")


def step_flops(model: nn.Module, part: Part) -> int:
    """Floating-point operations of one training step: the products of forward and backward pass."""
    images, labels = next(iter(part.batches(BATCH_SIZE)))
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(model(images), labels).backward()
    return int(counter.get_total_flops())


def matrix_peak(precision: str, seconds: float = 0.1) -> float:
    """Operations a second of the fastest square matrix product seen within some time, in fp32 or bf16."""
    placements = [Placement(device="cpu", precision="bf16")]
    dtype = torch.bfloat16
    if precision == "fp32":
        dtype = torch.float32
        placements = [
            Placement(device="cpu", precision="fp32", onednn_matmul=onednn) for onednn in (False, True)
        ]
    a, b = torch.ones(2, PEAK_SIZE, PEAK_SIZE).div(3).to(dtype)
    best = float("inf")
    for placement in placements:
        with computing(placement):
            started = time.perf_counter()
            while time.perf_counter() - started < seconds:
                before = time.perf_counter()
                a @ b
                best = min(best, time.perf_counter() - before)
    return 2 * PEAK_SIZE**3 / best


def bench_table(bench: Bench) -> Table:
    """The table of `tiebreak bench`."""
    columns = ("model", "variant", "images/s", "times", "spread", "of peak")
    rows = tuple(
        (
            row.model,
            row.variant,
            f"{row.images_per_second:,.0f}",
            f"{row.ratio:.2f}",
            f"{row.ratio_low:.2f}-{row.ratio_high:.2f}",
            f"{row.peak_share:.0%}",
        )
        for row in bench.rows
    )
    return Table(columns=columns, rows=rows, text_columns=("variant",))


def bench_notes(bench: Bench) -> tuple[str, ...]:
    """What must be known to read the table, a line each."""
    peaks = ", ".join(f"{name} {gflops:,.0f}" for name, gflops in bench.peak_gflops.items())
    load = "" if bench.load is None else f", load {bench.load:.1f} at the start"
    kernels = "compiled" if bench.compiled_kernels else "PyTorch's (no C++ compiler, or its result is wrong)"
    return (
        f"{bench.processor}, {bench.cores} cores{load}; torch {bench.torch}, {bench.threads} "
        f"thread{'s' if bench.threads != 1 else ''}; {bench.images}; batch size {BATCH_SIZE}.",
        f"times: to the case study's loop in the same round; median, lowest and highest of {bench.rounds}.",
        f"of peak: of the machine's matrix peak in the same number format; best seen: {peaks} GFLOP/s.",
        f"--precision auto chooses {bench.auto} here; kernels: {kernels}.",
    )
