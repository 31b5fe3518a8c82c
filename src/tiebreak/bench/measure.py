"""Measuring the loops: they take turns, many times over.

All train the same architecture on the same images with the same batch size, and every round is compared
within itself: what else the machine is doing meets all of them.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tiebreak.bench.loops import (
    BATCH_SIZE,
    CASE_STUDY,
    CPU,
    PRECISIONS,
    TrainingLoop,
    bench_part,
    plain_loops,
    tiebreak_loops,
)
from tiebreak.bench.side_by_side import side_by_side
from tiebreak.data.dataset import ImageDataset, Part
from tiebreak.kernels import active_kernels, kernel_variant
from tiebreak.models.catalog import build_model
from tiebreak.rng import global_stream
from tiebreak.study.where.machine import available_cores
from tiebreak.training.placement.device import processor_name, thread_count
from tiebreak.training.placement.placement import Placement, Precision
from tiebreak.training.placement.precision import choose_precision, computing

MODELS = ("mlp", "cnn")
PEAK_SIZE = 1024  # rows and columns of the matrices whose product is the machine's peak
TRIAL_SIZE = 256  # ... of those that tell whether bf16 is fast here at all


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long is measured."""

    rounds: int = 7
    seconds: float = 0.8  # of each variant in each round

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
    kernel_variant: str | None  # None: PyTorch computes
    active_kernels: tuple[str, ...]  # what is compiled
    threads: int  # of the variants that are one run
    side_by_side: int  # runs, of one thread each; 0: not measured
    rounds: int
    images: str
    processor: str
    cores: int
    torch: str
    load: float | None  # of the machine at the start, in processes that want a core


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to train, and how fast it is."""

    name: str
    precision: Precision
    steps_a_second: Callable[[float], float]  # measured for so many seconds


def run_bench(
    data: ImageDataset,
    threads: int | None = None,
    effort: Effort | None = None,
    models: Sequence[str] = MODELS,
) -> Bench:
    """Measure every variant of every model on the CPU; bf16 only where its products are faster than fp32's.

    `threads`: of the variants that are one run; None: as many as there are cores, and only then runs side by
    side, which use all cores, can be compared with them.

    Raises: ModelError if a model cannot be built for this data.
    """
    effort = effort or Effort()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    cores = available_cores()
    threads = threads or len(cores)
    beside_cores = cores if 1 < len(cores) == threads else []
    part = bench_part(data)
    rows: list[Row] = []
    precisions = fast_precisions()
    peaks: dict[Precision, list[float]] = {precision: [] for precision in precisions}
    with thread_count(threads), global_stream(0, "bench"):
        for model in models:
            with side_by_side(model, data, beside_cores, precisions) as beside:
                loops = tiebreak_loops(model, data, part, precisions)
                variants = _variants(model, data, part, loops, beside, len(beside_cores))
                flops = step_flops(build_model(model, data.image_shape, data.num_classes), part)
                rows += _measure(model, variants, flops, min(BATCH_SIZE, len(part)), effort, peaks)
    return Bench(
        rows=tuple(rows),
        peak_gflops={name: max(seen) / 1e9 for name, seen in peaks.items()},
        auto=choose_precision("auto", CPU),
        kernel_variant=kernel_variant(),
        active_kernels=active_kernels(),
        threads=threads,
        side_by_side=len(beside_cores),
        rounds=effort.rounds,
        images=f"{data.name}, {' x '.join(map(str, data.image_shape))}",
        processor=processor_name(),
        cores=os.cpu_count() or 1,
        torch=torch.__version__,
        load=load,
    )


def _variants(
    model: str,
    data: ImageDataset,
    part: Part,
    loops: dict[Precision, TrainingLoop],
    beside: Callable[[Precision, float], float],
    processes: int,
) -> list[Variant]:
    variants = [
        Variant(name=name, precision=loop.precision, steps_a_second=loop.steps_a_second)
        for name, loop in plain_loops(model, data, part).items()
    ]
    variants += [
        Variant(name=f"tiebreak {name}", precision=name, steps_a_second=loop.steps_a_second)
        for name, loop in loops.items()
    ]
    if processes:
        variants += [
            Variant(
                name=f"tiebreak {precision}, {processes} runs side by side",
                precision=precision,
                steps_a_second=partial(beside, precision),
            )
            for precision in loops
        ]
    return variants


def _measure(
    model: str,
    variants: Sequence[Variant],
    flops: int,
    batch: int,
    effort: Effort,
    peaks: dict[Precision, list[float]],
) -> list[Row]:
    """The rows of one model; what the machine's peak was in each round is added to `peaks`.

    `flops`: floating-point operations of a step; `batch`: its images.
    """
    rates: dict[str, list[float]] = {variant.name: [] for variant in variants}  # steps a second, by round
    shares: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for turn in range(effort.rounds):
        peak = {precision: matrix_peak(precision) for precision in peaks}
        for precision, operations in peak.items():
            peaks[precision].append(operations)
        # Back and forth, so that no variant always comes after the same other.
        for variant in variants[:: 1 if turn % 2 == 0 else -1]:
            rates[variant.name].append(variant.steps_a_second(effort.seconds))
            shares[variant.name].append(rates[variant.name][-1] * flops / peak[variant.precision])
    return [_row(model, name, rates[name], rates[CASE_STUDY], shares[name], batch) for name in rates]


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


def step_flops(model: nn.Module, part: Part) -> int:
    """Floating-point operations of one training step: the products of forward and backward pass."""
    images, labels = next(iter(part.batches(BATCH_SIZE)))
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(model(images), labels).backward()
    return int(counter.get_total_flops())


def fast_precisions() -> tuple[Precision, ...]:
    """fp32, and bf16 where this machine is faster in it: elsewhere it is emulated, many times slower."""
    fp32, bf16 = (matrix_peak(precision, size=TRIAL_SIZE) for precision in PRECISIONS)
    return PRECISIONS if bf16 > fp32 else PRECISIONS[:1]


def matrix_peak(precision: str, seconds: float = 0.1, size: int = PEAK_SIZE) -> float:
    """Operations a second of the fastest square matrix product seen within some time, in fp32 or bf16."""
    placements = [Placement(device="cpu", precision="bf16")]
    dtype = torch.bfloat16
    if precision == "fp32":
        dtype = torch.float32
        placements = [
            Placement(device="cpu", precision="fp32", onednn_matmul=onednn) for onednn in (False, True)
        ]
    a, b = torch.ones(2, size, size).div(3).to(dtype)
    best = float("inf")
    for placement in placements:
        with computing(placement):
            started = time.perf_counter()
            while time.perf_counter() - started < seconds:
                before = time.perf_counter()
                a @ b
                best = min(best, time.perf_counter() - before)
    return 2 * size**3 / best
