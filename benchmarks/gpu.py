"""Training on a GPU: one run against the case study's loop, several runs at once, and stacked seeds.

    python benchmarks/gpu.py --rounds 5 --out benchmarks/gpu.md

Images of CIFAR-10's size with random pixels, batch size 128, 45,000 of them in the runs of a study. Variants
take turns. Stacked: all seeds of a model as one step (torch.func.stack_module_state and vmap), a batch of
its own for each, Adam over the stacked parameters.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from table_file import write_table
from torch import Tensor, nn

from tiebreak.bench.loops import (
    BATCH_SIZE,
    bench_part,
    case_study_steps,
    in_memory_steps,
    random_images,
    tiebreak_steps,
)
from tiebreak.data.dataset import Part
from tiebreak.models.catalog import build_model
from tiebreak.study.driver import run_study
from tiebreak.study.plan import Execution, Study, parse_contender
from tiebreak.training.placement.precision import choose_placement, computing
from tiebreak.training.recipe.recipe import Recipe

CUDA = torch.device("cuda")
MODELS = ("mlp", "cnn")
STUDY_IMAGES = 50_000


def steps_a_second(step: Callable[[], None], seconds: float) -> float:
    """Steps that the device has finished, a second."""
    for _ in range(5):
        step()
    torch.cuda.synchronize()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(10):
            step()
        steps += 10
        torch.cuda.synchronize()
    return steps / (time.perf_counter() - started)


def stacked_steps(models: list[nn.Module], part: Part) -> Iterator[None]:
    """One step of every model at a time, without end."""
    for model in models:
        model.to(CUDA).train()
    parameters, _ = torch.func.stack_module_state(models)
    optimizer = torch.optim.Adam(parameters.values(), lr=1e-3, fused=True)
    criterion = nn.CrossEntropyLoss()

    def loss_of(parameters: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return criterion(torch.func.functional_call(models[0], parameters, (images,)), labels)

    losses = torch.func.vmap(loss_of, randomness="different")
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (part.mean, part.std))
    images, labels = ((part.images / 255 - mean) / std).to(CUDA), part.labels.to(CUDA)
    draws = torch.Generator(CUDA).manual_seed(0)
    while True:
        chosen = torch.randint(len(labels), (len(models), BATCH_SIZE), device=CUDA, generator=draws)
        optimizer.zero_grad()
        losses(dict(parameters), images[chosen], labels[chosen]).sum().backward()
        optimizer.step()
        yield


def loops(model: str, part: Part, stacks: list[int]) -> dict[str, tuple[int, Callable[[], None]]]:
    """Variant -> runs that a step of it moves on, and the step."""
    data = random_images(BATCH_SIZE)

    def build() -> nn.Module:
        return build_model(model, data.image_shape, data.num_classes)

    found: dict[str, tuple[int, Callable[[], None]]] = {}
    plain = {"case study's loop": case_study_steps, "in-memory tensors": in_memory_steps}
    for name, make in plain.items():
        found[name] = 1, make(build(), part, CUDA).__next__
    for precision in ("fp32", "bf16"):
        network = build()
        placement = choose_placement(network, data.image_shape, CUDA, precision)
        steps = tiebreak_steps(network, part, placement)

        def step(steps: Iterator[None] = steps, placement: object = placement) -> None:
            with computing(placement):
                next(steps)

        found[f"tiebreak {precision}"] = 1, step
    for count in stacks:
        found[f"{count} seeds stacked, fp32"] = (
            count,
            stacked_steps([build() for _ in range(count)], part).__next__,
        )
    return found


def one_run(model: str, rounds: int, seconds: float, stacks: list[int]) -> list[str]:
    variants = loops(model, bench_part(random_images()), stacks)
    speeds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, (runs, step) in variants.items():
            speeds[name].append(runs * BATCH_SIZE * steps_a_second(step, seconds))
    base = speeds["case study's loop"]
    rows = []
    for name, each in speeds.items():
        ratios = [speed / first for speed, first in zip(each, base, strict=True)]
        rows.append(
            f"| {model} | {name} | {statistics.median(each):,.0f} | {statistics.median(ratios):.1f} "
            f"| {min(ratios):.1f} to {max(ratios):.1f} |"
        )
    return rows


def study_seconds(model: str, precision: str, workers: int, runs: int, epochs: int) -> float:
    """Wall-clock seconds of a study, the start of its processes included."""
    study = Study(contenders=(parse_contender(model, Recipe(epochs=epochs)),), seeds=tuple(range(runs)))
    execution = Execution(device="cuda", precision=precision, executor="processes", workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for _ in run_study(study, random_images(STUDY_IMAGES), Path(folder) / "study", execution):
            pass
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each variant in each round")
    parser.add_argument("--stacks", type=int, nargs="*", default=[4, 16])
    parser.add_argument("--runs", type=int, default=8, help="of a study")
    parser.add_argument("--epochs", type=int, default=20, help="of each of its runs")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/gpu.md"))
    given = parser.parse_args()
    lines = ["| model | variant | images/s | times the loop | spread |", "| --- | --- | ---: | ---: | --- |"]
    for model in MODELS:
        lines += one_run(model, given.rounds, given.seconds, given.stacks)
    lines += [
        "",
        f"## A study of {given.runs} runs of {given.epochs} epochs, several at once on the one GPU",
        "",
        "| model | format | " + " | ".join(f"{workers} at a time, s" for workers in given.workers) + " |",
        "| --- | --- |" + " ---: |" * len(given.workers),
    ]
    for model in MODELS:
        took = [study_seconds(model, "bf16", workers, given.runs, given.epochs) for workers in given.workers]
        lines.append(f"| {model} | bf16 | " + " | ".join(f"{seconds:.0f}" for seconds in took) + " |")
    facts = (
        f"{torch.cuda.get_device_name()}. Medians of {given.rounds} rounds of {given.seconds:g} s, ratios to "
        "the case study's loop of the same round; spread: lowest to highest round. The studies: once each."
    )
    write_table(given.out, "Training on a GPU", facts, lines)


if __name__ == "__main__":
    main()
