"""What this machine has for a study's runs, what they need, and so how many go side by side."""

import logging
import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tiebreak.data.dataset import ImageDataset
from tiebreak.models.catalog import build_model
from tiebreak.models.cost import model_cost
from tiebreak.rng import global_stream
from tiebreak.study.plan import Execution
from tiebreak.training.run import EVAL_BATCH_SIZE
from tiebreak.training.spec import RunSpec

CGROUPS = Path("/sys/fs/cgroup")
GB = 1e9

PROCESS_BYTES = 400_000_000  # of a worker that has imported PyTorch, before its run begins
RUNS_ON_A_GPU = 4  # at once: small models leave a GPU waiting for its processor (benchmarks/gpu.md)
CUDA_CONTEXT_BYTES = 600_000_000  # of GPU memory for a process that uses it at all; not measured here
FLOPS_PER_SECOND = 50e9  # of one core while training: a rough figure, for WORTHWHILE_SECONDS only
STEP_SECONDS = 0.5e-3  # what a step costs beside its arithmetic; rough as well
WORTHWHILE_SECONDS = 6.0  # of work; below it, workers that must import PyTorch first do not pay

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What there is for runs, as far as it decides how many go side by side."""

    kind: str  # of device: cpu, cuda or mps
    cores: float  # that may be kept busy
    memory: float = math.inf  # bytes that are free
    gpu_memory: tuple[int, ...] = ()  # bytes that are free on each GPU a run may be given


class Needs(NamedTuple):
    """Bytes that a run takes."""

    memory: int
    gpu_memory: int = 0


def this_machine(device: torch.device) -> Machine:
    """This machine as it is now, for runs on that device."""
    free = free_memory()
    gpus: Iterable[int] = ()
    if device.type == "cuda":
        gpus = range(torch.cuda.device_count()) if device.index is None else [device.index]
    return Machine(
        kind=device.type,
        cores=min(len(available_cores()), cpu_quota()),
        memory=math.inf if free is None else free,
        gpu_memory=tuple(torch.cuda.mem_get_info(index)[0] for index in gpus),
    )


def choose_workers(
    specs: Sequence[RunSpec],
    data: ImageDataset,
    execution: Execution,
    machine: Machine,
    *,
    early_server: bool = False,
) -> int:
    """How many of the runs go side by side on a machine; the reason is logged if memory sets the number.

    `early_server`: workers are forks of a server that is there already, and cost next to nothing.

    Raises: ModelError if a model cannot be built.
    """
    if execution.executor == "serial":
        return 1
    free_choice = execution.workers == execution.executor == "auto" and not early_server
    if free_choice and estimate_seconds(specs, data) < WORTHWHILE_SECONDS:
        return 1
    wanted = _places(machine, execution.threads) if execution.workers == "auto" else execution.workers
    wanted = max(1, min(wanted, len(specs)))
    needs = estimate_needs(specs, data, on_gpu=machine.kind == "cuda")
    resources = [("", needs.memory, machine.memory, machine.memory / needs.memory)]
    if needs.gpu_memory:
        fit = sum(free // needs.gpu_memory for free in machine.gpu_memory)
        resources.append((" of GPU memory", needs.gpu_memory, sum(machine.gpu_memory), fit))
    what, need, free, fitting = min(resources, key=lambda resource: resource[3])
    needed = f"{wanted} runs side by side need about {wanted * need / GB:.1f} GB{what}"
    if fitting >= wanted:
        log.info("%s.", needed)
        return wanted
    fitting = max(1, int(fitting))
    if execution.workers == "auto":
        log.warning("%s, %.1f GB are free: running %d at a time.", needed, free / GB, fitting)
        return fitting
    log.warning("%s, only %.1f GB are free; --workers auto would take %d.", needed, free / GB, fitting)
    return wanted


def _places(machine: Machine, threads: int) -> int:
    """How many runs may compute at once, memory aside.

    MPS has one queue, so one run.
    """
    devices = {"cpu": math.inf, "cuda": RUNS_ON_A_GPU * len(machine.gpu_memory)}.get(machine.kind, 1)
    return int(min(devices, machine.cores // threads))


def estimate_needs(specs: Sequence[RunSpec], data: ImageDataset, *, on_gpu: bool = False) -> Needs:
    """What the hungriest of the runs takes beside the data set that all share, roughly.

    Raises: ModelError if a model cannot be built.
    """
    of_data = data.train_images.nbytes + data.test_images.nbytes
    # A transform gives a worker images of its own, and is itself applied to the images of the one before.
    copies = of_data * max(min(2, len(spec.transforms)) for spec in specs)
    computing = 0
    for model_name, batch_size in {(spec.model, spec.recipe.batch_size) for spec in specs}:
        model = _build(model_name, data)
        weights = sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
        # A step holds weights, gradients and two moments, and each output with its gradient. An evaluation
        # holds few outputs at a time; all of them once is a bound.
        images_held = max(2 * batch_size, EVAL_BATCH_SIZE)
        computing = max(computing, 4 * weights + images_held * output_bytes(model, data.image_shape))
    if on_gpu:  # training and validation part each bring the images there
        return Needs(PROCESS_BYTES + copies, CUDA_CONTEXT_BYTES + 2 * of_data + computing)
    return Needs(PROCESS_BYTES + copies + computing)


def estimate_seconds(specs: Sequence[RunSpec], data: ImageDataset) -> float:
    """Seconds that the runs take one after another on one core, roughly.

    Raises: ModelError if a model cannot be built.
    """
    flops = {
        name: model_cost(_build(name, data), data.image_shape).flops for name in {s.model for s in specs}
    }
    seconds = 0.0
    for spec in specs:
        images = spec.recipe.epochs * (len(data.train) - spec.val_size)
        steps = math.ceil(images / spec.recipe.batch_size)
        seconds += images * 3 * flops[spec.model] / FLOPS_PER_SECOND + steps * STEP_SECONDS
    return seconds


def _build(model: str, data: ImageDataset) -> nn.Module:
    with global_stream(0, "check"):
        return build_model(model, data.image_shape, data.num_classes)


def output_bytes(model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Bytes of all the layers' outputs for one image."""
    sizes: list[int] = []

    def note(layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel() * output.element_size())

    leaves = [layer for layer in model.modules() if not list(layer.children())]
    handles = [layer.register_forward_hook(note) for layer in leaves]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        model(torch.zeros(2, *image_shape))  # one alone is more than some models take
    model.train(was_training)
    for handle in handles:
        handle.remove()
    return sum(sizes) // 2


def available_cores() -> list[int]:
    """A CPU number for each physical core that this process may use; hardware threads are not counted."""
    if sys.platform != "linux":
        return list(range(os.cpu_count() or 1))
    cores: dict[str, int] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings.read_text() if siblings.is_file() else str(cpu), cpu)
    return list(cores.values())


def cpu_quota(root: Path = CGROUPS) -> float:
    """How many CPUs' time this process's control groups (version 2) give it, e.g. Docker's --cpus."""
    quota = math.inf
    for folder in _control_groups(root):
        limit = folder / "cpu.max"
        if limit.is_file():
            microseconds, period = limit.read_text().split()
            if microseconds != "max":
                quota = min(quota, int(microseconds) / int(period))
    return max(1.0, quota)


def free_memory(root: Path = CGROUPS) -> int | None:
    """Bytes that can be had without swapping, within the control groups' limits; None: unknown."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    kilobytes = dict(line.split(":") for line in meminfo.read_text().splitlines())
    free = int(kilobytes["MemAvailable"].split()[0]) * 1024
    for folder in _control_groups(root):
        limit = folder / "memory.max"
        if limit.is_file() and (most := limit.read_text().strip()) != "max":
            used = int((folder / "memory.current").read_text())
            counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            free = min(free, int(most) - used + int(counts["inactive_file"]))  # that part can be dropped
    return free


def _control_groups(root: Path) -> list[Path]:
    """The folders of this process's control group and of those above it."""
    own = Path("/proc/self/cgroup")
    lines = own.read_text().splitlines() if own.is_file() else []
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    folder = root / path
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]
