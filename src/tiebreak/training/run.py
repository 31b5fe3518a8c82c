"""One run: one model trained with one recipe and one seed, judged on val and, once at the end, on test.

Shape letters: V validation images, T test images, K classes.
"""

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Int64
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from tiebreak.data.batches import Batches
from tiebreak.data.dataset import ImageDataset, Part
from tiebreak.data.subset import take_fraction
from tiebreak.data.transform import transform_dataset
from tiebreak.errors import DivergedError
from tiebreak.models.catalog import build_model
from tiebreak.models.cost import model_cost
from tiebreak.results.run import Cost, History, Timing
from tiebreak.rng import derive_seed, global_stream, stream
from tiebreak.training.checkpoint import Checkpoint, Resumed, RunState, restore_state, save_state
from tiebreak.training.loop import EpochResult, StepResult, fit_steps, history_of, predict
from tiebreak.training.micro_batches import memory_advice
from tiebreak.training.precision import (
    Placement,
    PrecisionChoice,
    choose_placement,
    choose_precision,
    computing,
    prepare_batches,
    prepare_model,
    unprepared,
)
from tiebreak.training.recipe import Recipe, make_criterion, make_optimizer, make_scheduler

EVAL_BATCH_SIZE = 500
SECONDS_BETWEEN_REPORTS = 0.2


class RunSpec(BaseModel):
    """Everything that a run's result depends on, beside the data and the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str  # as the catalog reads it: "cnn(width=64)"
    recipe: Recipe
    seed: int
    val_size: int  # images of the training part kept for validation
    stratify: bool = True
    transforms: tuple[str, ...] = ()  # of the images, as `data.transform` reads them
    train_fraction: float = 1.0  # of the training split


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Class probabilities and true labels. Test images come in the data set's order."""

    val_probs: Float32[np.ndarray, "V K"]
    val_labels: Int64[np.ndarray, " V"]
    test_probs: Float32[np.ndarray, "T K"]
    test_labels: Int64[np.ndarray, " T"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RunResult:
    """What a finished run leaves behind."""

    history: History
    predictions: Predictions
    test_loss: float  # mean over images
    test_acc: float  # fraction
    weights: dict[str, Tensor]
    cost: Cost
    timing: Timing
    resumed_inexactly: str | None = None  # why the last digits may differ from an uninterrupted run's
    micro_batches: int = 1  # that a batch was cut into to fit the device's memory
    placement: Placement


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """Where a run stands inside an epoch."""

    epoch: int
    batch: int
    batches: int
    loss: float
    accuracy: float
    images_per_second: float


RunEvent = RunProgress | EpochResult | RunResult | Checkpoint | Resumed


@runtime_checkable
class Stop(Protocol):
    """A request to stop, seen after each batch: `threading.Event` is one, so is multiprocessing's."""

    def is_set(self) -> bool: ...


NEVER: Stop = threading.Event()


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """A run that is ready to train: what stays as it is, and the state that changes."""

    spec: RunSpec
    run: dict[str, Any]  # what its checkpoints are of
    device: torch.device
    placement: Placement
    train_batches: Batches
    val: Part
    test: Part
    criterion: nn.Module
    cost: Cost
    state: RunState


def train_run(
    spec: RunSpec,
    data: ImageDataset,
    device: torch.device,
    checkpoint: bytes | None = None,
    *,
    precision: PrecisionChoice = "auto",
    checkpoint_seconds: float = 30.0,
    stop: Stop = NEVER,
) -> Iterator[RunEvent]:
    """Train as `spec` says. Gives progress, a result per epoch, checkpoints, and at last the run's result.

    Each random draw comes from its own stream of the run's seed: runs of different models with the
    same seed share split, order and augmentation, which is what pairs them.

    `checkpoint`: go on from there; a `Resumed` then comes first. A checkpoint is given after every epoch
    and every `checkpoint_seconds` inside one. When `stop` is set the batch is finished, a last checkpoint
    given, and nothing after it.

    Raises: ModelError if the model cannot be built for this data; DataError if the split is impossible;
    DivergedError, DeviceMemoryError if training fails; CheckpointError if the checkpoint does not fit.
    """
    with memory_advice():
        bench = _prepare(spec, data, device, precision)
        state = bench.state
        with global_stream(spec.seed, "dropout"), computing(bench.placement):
            if checkpoint is not None:
                yield restore_state(state, device, bench.run, checkpoint)
            yield from _train(bench, data, checkpoint_seconds, stop)
            if state.here.epoch > spec.recipe.epochs:
                yield _result(bench)


def checkpoint_key(spec: RunSpec, data: ImageDataset) -> dict[str, Any]:
    """What a run's checkpoint must be of, to be this run's."""
    return {"spec": spec.model_dump(mode="json"), "data": data.fingerprint}


def _prepare(spec: RunSpec, data: ImageDataset, device: torch.device, precision: PrecisionChoice) -> Bench:
    started = time.perf_counter()
    recipe, seed = spec.recipe, spec.seed
    data = transform_dataset(data, spec.transforms, seed)
    train, val = data.split(spec.val_size, derive_seed(seed, "split"), spec.stratify)
    train = take_fraction(train, spec.train_fraction, stream(seed, "subset"))
    streams = {purpose: stream(seed, purpose) for purpose in ("order", "augment")}
    train_batches = train.batches(
        recipe.batch_size,
        shuffle=True,
        generator=streams["order"],
        augment=recipe.augment,
        augment_generator=streams["augment"],
    )
    with global_stream(seed, "init"):
        model = build_model(spec.model, data.image_shape, data.num_classes)
    cost = model_cost(model, data.image_shape)
    placement = choose_placement(model, data.image_shape, device, choose_precision(precision, device))
    model = prepare_model(model, placement)
    optimizer = make_optimizer(recipe, model)
    state = RunState(
        model=model,
        optimizer=optimizer,
        scheduler=make_scheduler(recipe, optimizer, len(train_batches)),
        streams=streams,
        here=StepResult.before(1, device),
        started=started,
        placement=placement,
    )
    return Bench(
        spec=spec,
        run=checkpoint_key(spec, data),
        device=device,
        placement=placement,
        train_batches=prepare_batches(train_batches, placement),
        val=val,
        test=data.test,
        criterion=make_criterion(recipe),
        cost=cost,
        state=state,
    )


def _fit(bench: Bench) -> Iterator[StepResult | EpochResult]:
    state = bench.state
    return fit_steps(
        state.model,
        bench.train_batches,
        prepare_batches(bench.val.batches(EVAL_BATCH_SIZE), bench.placement),
        bench.criterion,
        state.optimizer,
        bench.device,
        bench.spec.recipe.epochs,
        state.scheduler,
        after=state.here,
        step=state.step,
    )


def _train(
    bench: Bench, data: ImageDataset, checkpoint_seconds: float, stop: Stop
) -> Iterator[RunProgress | EpochResult | Checkpoint]:
    """Train to the end, or until `stop`; the state says how far it came.

    Of the steps a few a second are reported, as reading a running mean awaits the device. That no
    number is infinite is looked at then and before each checkpoint, for the same reason.
    """
    state = bench.state
    reported = saved = time.perf_counter()
    for result in _fit(bench):
        now, stopping = time.perf_counter(), stop.is_set()
        at_end = isinstance(result, EpochResult)
        if isinstance(result, EpochResult):
            check_finite(bench, data, result.train_loss, result.val_loss)
            yield result
            state.epochs.append(result)
            state.here = StepResult.before(result.epoch + 1, bench.device)
            state.note_streams()
        else:
            state.here = result
        if at_end or stopping or now - saved >= checkpoint_seconds:
            if not at_end:
                check_finite(bench, data, state.here.running.loss)
            yield save_state(state, bench.device, bench.run)
            reported = saved = time.perf_counter()
        elif now - reported >= SECONDS_BETWEEN_REPORTS:
            yield _progress(bench, data)
            reported = now
        if stopping:
            return


def _progress(bench: Bench, data: ImageDataset) -> RunProgress:
    here = bench.state.here
    loss = here.running.loss
    if not math.isfinite(loss):
        check_finite(bench, data, loss)
    return RunProgress(
        epoch=here.epoch,
        batch=here.batch,
        batches=len(bench.train_batches),
        loss=loss,
        accuracy=here.running.accuracy,
        images_per_second=here.running.samples / here.seconds,
    )


def check_finite(bench: Bench, data: ImageDataset, *losses: float) -> None:
    """Whether training still computes numbers.

    Raises: DivergedError, with epoch, batch and tensor.
    """
    bad = not_finite(bench.state.model)
    if bad is None and all(map(math.isfinite, losses)):
        return
    where = find_divergence(bench, data) or f"{bad or 'the loss'} is not finite by {_place(bench.state.here)}"
    raise DivergedError(f"{where}; try a smaller --lr")


def find_divergence(bench: Bench, data: ImageDataset) -> str | None:
    """Epoch, batch and tensor where a number first was not finite, in words; None if it does not come again.

    Looking at every gradient would slow every batch. A failed run can afford to be trained again
    from its last checkpoint, this time looking.
    """
    again = _prepare(bench.spec, data, bench.device, bench.placement.precision)
    with global_stream(bench.spec.seed, "dropout"), computing(bench.placement):
        if bench.state.last_saved is not None:
            restore_state(again.state, bench.device, bench.run, bench.state.last_saved)
        for result in _fit(again):
            if isinstance(result, EpochResult):
                if not math.isfinite(result.val_loss):
                    return f"the validation loss is {result.val_loss} after epoch {result.epoch}"
                return None
            if not math.isfinite(result.running.loss):
                return f"the loss is {result.running.loss} in {_place(result)}"
            bad = not_finite(again.state.model, gradients=True)
            if bad is not None:
                return f"{bad} is not finite in {_place(result)}"
    return None


def not_finite(model: nn.Module, gradients: bool = False) -> str | None:
    """The name of a parameter with an infinite or undefined entry; with `gradients`, of a gradient before it.

    Buffers are left out: a mask of minus infinity is meant.
    """
    parameters = list(unprepared(model).named_parameters())
    tensors = [(name, parameter.detach()) for name, parameter in parameters]
    if gradients:
        of_loss = [(f"the gradient of {name}", p.grad) for name, p in parameters if p.grad is not None]
        tensors = [*of_loss, *tensors]
    return next((name for name, tensor in tensors if not bool(tensor.isfinite().all())), None)


def _place(step: StepResult) -> str:
    return f"epoch {step.epoch}, batch {step.batch}"


def _result(bench: Bench) -> RunResult:
    state = bench.state
    predictions = _predict_parts(state.model, bench.val, bench.test, bench.placement)
    train_seconds = sum(epoch.train_seconds for epoch in state.epochs)
    timing = Timing(
        train_seconds=train_seconds,
        evaluate_seconds=time.perf_counter() - state.started - train_seconds,
        images_per_second=bench.train_batches.num_images * len(state.epochs) / train_seconds,
    )
    weights = state.model.state_dict()
    return RunResult(
        history=history_of(state.epochs),
        predictions=predictions,
        test_loss=_mean_loss(predictions.test_probs, predictions.test_labels),
        test_acc=float((predictions.test_probs.argmax(axis=1) == predictions.test_labels).mean()),
        weights={name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()},
        cost=bench.cost,
        timing=timing,
        resumed_inexactly=state.inexact,
        micro_batches=state.step.pieces,
        placement=bench.placement,
    )


def _predict_parts(model: nn.Module, val: Part, test: Part, placement: Placement) -> Predictions:
    device = torch.device(placement.device)
    val_probs, test_probs = (
        predict(model, prepare_batches(part.batches(EVAL_BATCH_SIZE), placement), device).numpy()
        for part in (val, test)
    )
    return Predictions(
        val_probs=val_probs,
        val_labels=val.targets.numpy(),
        test_probs=test_probs,
        test_labels=test.targets.numpy(),
    )


def _mean_loss(probs: Float32[np.ndarray, "N K"], labels: Int64[np.ndarray, " N"]) -> float:
    of_truth = probs[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(of_truth, np.finfo(np.float32).tiny)).mean(dtype=np.float64))
