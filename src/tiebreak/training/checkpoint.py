"""A run under way as bytes: saved while it trains, restored so that it goes on as if it had never stopped.

The format is safetensors: tensors, and one JSON text in the header. Reading it executes nothing.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from tiebreak.errors import CheckpointError, ModelError
from tiebreak.models.weights import load_weights
from tiebreak.results.run import best_epoch
from tiebreak.rng import global_states, set_global_states
from tiebreak.training.loop import EpochResult, RunningMean, StepResult, history_of
from tiebreak.training.placement.device import processor_name
from tiebreak.training.placement.micro_batches import FrugalStep
from tiebreak.training.placement.placement import Machine, Placement

FORMAT = 2
version = cache(metadata.version)  # which reads a file each time
HEADER = "tiebreak"  # the key of our JSON text among the metadata of the file
SEAL = "sha256"  # the key of the file's SHA-256, computed while zeros stand there
UNSEALED = "0" * 64
REMEDY = "Remove checkpoint.safetensors from the run's folder to begin the run anew."


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run's state after some batch."""

    epoch: int  # that is under way, from 1
    batch: int  # batches of it that are done
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A run goes on from a checkpoint."""

    epoch: int
    batch: int
    inexact: str | None  # why the results may differ from an uninterrupted run's in their last digits

    def __str__(self) -> str:
        text = f"goes on in epoch {self.epoch} after {self.batch} batches"
        return f"{text}; not bit for bit, as {self.inexact}" if self.inexact else text


class CheckpointHeader(BaseModel):
    """All of a checkpoint that is not a tensor."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: int
    run: dict[str, Any]  # the spec and the data's fingerprint: what the state is a state of
    machine: Machine
    inexact: str | None
    epoch: int
    batch: int
    samples: int
    epoch_seconds: float  # this epoch has trained so far
    pieces: int  # that a batch is cut into to fit the device's memory
    epochs: tuple[EpochResult, ...]
    model: Any
    averaged: Any = None
    best: Any = None
    optimizer: Any
    scheduler: Any


@dataclass(kw_only=True, eq=False)
class RunState:
    """All that changes while a run trains, beside the global generators."""

    model: nn.Module
    averaged: AveragedModel | None = None  # the mean of the weights of all steps, which is what is judged
    best: dict[str, Tensor] | None = None  # what was judged after the best epoch so far, where that is kept
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler | None
    streams: dict[str, torch.Generator]  # that the batches draw from
    here: StepResult
    placement: Placement
    step: FrugalStep = field(default_factory=FrugalStep)
    inexact: str | None = None
    epochs: list[EpochResult] = field(default_factory=list)
    streams_before_epoch: dict[str, Tensor] = field(default_factory=dict)
    last_saved: bytes | None = None

    def __post_init__(self) -> None:
        self.note_streams()

    @property
    def judged(self) -> nn.Module:
        """The model that validation and test are asked of."""
        return self.averaged.module if self.averaged else self.model

    def end_epoch(self, result: EpochResult, keep_best: bool) -> None:
        """Take in the epoch; with `keep_best`, what is judged, if it was the best so far."""
        self.epochs.append(result)
        if keep_best and best_epoch(history_of(self.epochs)) == result.epoch:
            self.best = {name: tensor.clone() for name, tensor in self.judged.state_dict().items()}
        self.here = StepResult.before(result.epoch + 1, self.here.running.loss_sum.device)
        self.note_streams()

    def note_streams(self) -> None:
        """Remember the streams as they stand: an epoch is about to begin."""
        self.streams_before_epoch = {name: stream.get_state() for name, stream in self.streams.items()}


def this_machine(device: torch.device, placement: Placement) -> Machine:
    return Machine(
        device=str(device),
        precision=placement.precision,
        kernels=placement.kernels,
        winograd=placement.winograd,
        threads=torch.get_num_threads(),
        processor=processor_name(),
        torch=torch.__version__,
        numpy=version("numpy"),
        tiebreak=version("tiebreak"),
    )


def save_state(state: RunState, device: torch.device, run: dict[str, Any]) -> Checkpoint:
    """The state as a checkpoint. `run`: what it is a state of, as JSON values."""
    tensors: dict[str, Tensor] = global_states(device)
    tensors |= {f"streams.{name}": noted for name, noted in state.streams_before_epoch.items()}
    tensors |= {
        "running.loss_sum": state.here.running.loss_sum,
        "running.correct": state.here.running.correct,
    }
    scheduler = state.scheduler.state_dict() if state.scheduler else None
    header = CheckpointHeader(
        format=FORMAT,
        run=run,
        machine=this_machine(device, state.placement),
        inexact=state.inexact,
        epoch=state.here.epoch,
        batch=state.here.batch,
        samples=state.here.running.samples,
        epoch_seconds=state.here.seconds,
        pieces=state.step.pieces,
        epochs=tuple(state.epochs),
        model=_pack(state.model.state_dict(), "model", tensors),
        averaged=_pack(_average_of(state), "averaged", tensors),
        best=_pack(state.best, "best", tensors),
        optimizer=_pack(state.optimizer.state_dict(), "optimizer", tensors),
        scheduler=_pack(scheduler, "scheduler", tensors),
    )
    # Cloned, because the format refuses tensors that share memory, as tied weights do.
    on_cpu = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    texts = {HEADER: header.model_dump_json(), SEAL: UNSEALED}
    content = safetensors.torch.save(on_cpu, metadata=texts)
    content = content.replace(_entry(UNSEALED), _entry(_seal_of(content, UNSEALED)), 1)
    state.last_saved = content
    return Checkpoint(epoch=state.here.epoch, batch=state.here.batch, content=content)


def _average_of(state: RunState) -> dict[str, Any] | None:
    if state.averaged is None:
        return None
    return {"weights": state.averaged.module.state_dict(), "count": state.averaged.n_averaged}


def restore_state(state: RunState, device: torch.device, run: dict[str, Any], content: bytes) -> Resumed:
    """Put a checkpoint's state into a freshly built run, the global generators included.

    Raises: CheckpointError if it cannot be read, is another run's, or does not fit the model.
    """
    header, tensors = read_checkpoint(content, run)
    try:
        load_weights(state.model, _unpack(header.model, tensors))
        if state.averaged:
            average = _unpack(header.averaged, tensors)
            load_weights(state.averaged.module, average["weights"])
            state.averaged.n_averaged.copy_(average["count"])
        state.best = _unpack(header.best, tensors)
        state.optimizer.load_state_dict(_unpack(header.optimizer, tensors))
        if state.scheduler:
            state.scheduler.load_state_dict(_unpack(header.scheduler, tensors))
        for name, stream in state.streams.items():
            stream.set_state(tensors[f"streams.{name}"])
        running = RunningMean.zero(device)
        running.loss_sum += tensors["running.loss_sum"].to(running.loss_sum)
        running.correct += tensors["running.correct"].to(device)
        if header.machine.device == str(device):
            set_global_states(tensors, device)
    except (ModelError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"The checkpoint does not fit the model ({reason}). {REMEDY}") from None
    running.samples = header.samples
    state.here = StepResult(
        epoch=header.epoch, batch=header.batch, running=running, seconds=header.epoch_seconds
    )
    state.step.pieces, state.epochs, state.last_saved = header.pieces, list(header.epochs), content
    state.inexact = header.inexact or machine_difference(
        header.machine, this_machine(device, state.placement)
    )
    state.note_streams()
    return Resumed(epoch=header.epoch, batch=header.batch, inexact=state.inexact)


def read_checkpoint(content: bytes, run: dict[str, Any]) -> tuple[CheckpointHeader, dict[str, Tensor]]:
    """A checkpoint's header and tensors.

    Raises: CheckpointError if it is damaged, of another version, or not of `run`.
    """
    try:
        tensors = safetensors.torch.load(content)
        texts = json.loads(content[8 : _header_end(content)])["__metadata__"]
        text = texts[HEADER]
        written_for = json.loads(text)["format"]
        if written_for != FORMAT:
            raise CheckpointError(
                f"The checkpoint has format {written_for}, this tiebreak reads {FORMAT}. {REMEDY}"
            )
        if _seal_of(content, texts[SEAL]) != texts[SEAL]:
            raise CheckpointError(f"The checkpoint was changed after it was written. {REMEDY}")
        header = CheckpointHeader.model_validate_json(text)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError(f"The checkpoint is damaged. {REMEDY}") from None
    for key in run:
        if header.run.get(key) != run[key]:
            raise CheckpointError(f"The checkpoint is of a run with another {key}. {REMEDY}")
    return header, tensors


def _header_end(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def _entry(seal: str) -> bytes:
    return f'"{SEAL}":"{seal}"'.encode()


def _seal_of(content: bytes, there: str) -> str:
    """SHA-256 of a checkpoint as it was before the seal that is `there` was put in."""
    end = _header_end(content)
    found = hashlib.sha256(content[:end].replace(_entry(there), _entry(UNSEALED), 1))
    found.update(memoryview(content)[end:])
    return found.hexdigest()


def machine_difference(before: Machine, now: Machine) -> str | None:
    """In words, what keeps `now` from repeating the digits of `before`; None if nothing does."""
    changed = [
        f"{name} was {getattr(before, name)} and is {getattr(now, name)}"
        for name in Machine.model_fields
        if getattr(before, name) != getattr(now, name)
    ]
    return ", ".join(changed) or None


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A state dict as JSON values; its tensors go to `tensors`, and are named in their place."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):  # as pairs, because the optimiser's keys are numbers
        return {"dict": [[key, _pack(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_pack(item, f"{name}.{index}", tensors) for index, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    return value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What `_pack` was given."""
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in content}
    return tuple(_unpack(item, tensors) for item in content)
