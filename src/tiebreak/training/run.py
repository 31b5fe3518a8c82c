"""One run: one model trained with one recipe and one seed, judged on val and, once at the end, on test.

Shape letters: V validation images, T test images, K classes.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tiebreak.data.batches import Batches
from tiebreak.data.dataset import ImageDataset, Part
from tiebreak.errors import DivergedError
from tiebreak.models.catalog import is_builtin
from tiebreak.models.cost import model_cost
from tiebreak.models.users_code import users_code
from tiebreak.models.weights import load_weights
from tiebreak.results.run import Cost, History, Predictions, Timing, accuracy, best_epoch, mean_loss
from tiebreak.rng import global_stream, in_global_stream
from tiebreak.training.checkpoint import (
    Checkpoint,
    Resumed,
    RunState,
    restore_state,
    save_state,
    this_machine,
)
from tiebreak.training.clock import Stopwatch
from tiebreak.training.loop import EpochResult, StepResult, fit_steps, history_of, predict
from tiebreak.training.placement.micro_batches import memory_advice
from tiebreak.training.placement.placement import Machine, Placement, PrecisionChoice
from tiebreak.training.placement.precision import (
    choose_placement,
    choose_precision,
    computing,
    prepare_batches,
    prepare_model,
    unprepared,
)
from tiebreak.training.recipe.optimiser import (
    make_average,
    make_criterion,
    make_optimizer,
    make_scheduler,
)
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.spec import RunSpec, initial_model, run_images

EVAL_BATCH_SIZE = 500
SECONDS_BETWEEN_REPORTS = 0.2


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
    machine: Machine
    kept_epoch: int | None = None  # whose weights these are, from 1; None: the last one's


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
    clock: Stopwatch  # of the training steps


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
    clock = Stopwatch()
    events = _train_run(spec, data, device, checkpoint, precision, checkpoint_seconds, stop, clock)
    for event in in_global_stream(events, spec.seed, "dropout", device):
        with clock.paused():
            yield event


def _train_run(
    spec: RunSpec,
    data: ImageDataset,
    device: torch.device,
    checkpoint: bytes | None,
    precision: PrecisionChoice,
    checkpoint_seconds: float,
    stop: Stop,
    clock: Stopwatch,
) -> Iterator[RunEvent]:
    with (
        users_code(f"{spec.model} failed in its run") if not is_builtin(spec.model) else nullcontext(),
        memory_advice(),
    ):
        bench = prepare_run(spec, data, device, precision, clock)
        state = bench.state
        with computing(bench.placement):
            if checkpoint is not None:
                yield restore_state(state, device, bench.run, checkpoint)
            yield from _train(bench, data, checkpoint_seconds, stop)
            if is_trained(state, spec.recipe):
                yield _result(bench)


def run_key(spec: RunSpec, data: ImageDataset) -> dict[str, Any]:
    """All that a run's result depends on beside the machine, as JSON values."""
    return {
        "spec": spec.model_dump(mode="json", exclude={"source"}),
        "source": spec.source,
        "data": data.fingerprint,
        "own_val": data.own_val,
    }


def prepare_run(
    spec: RunSpec,
    data: ImageDataset,
    device: torch.device,
    precision: PrecisionChoice,
    clock: Stopwatch | None = None,
) -> Bench:
    """All that a run needs, before its first step.

    Raises: as `train_run`.
    """
    images = run_images(spec, data)
    model = initial_model(spec, data, images.train)
    cost = model_cost(model, data.image_shape)
    placement = choose_placement(model, data.image_shape, device, choose_precision(precision, device))
    model = prepare_model(model, placement)
    optimizer = make_optimizer(spec.recipe, model)
    state = RunState(
        model=model,
        averaged=make_average(spec.recipe, model),
        optimizer=optimizer,
        scheduler=make_scheduler(spec.recipe, optimizer, len(images.train)),
        streams=images.streams,
        here=StepResult.before(1, device),
        placement=placement,
    )
    return Bench(
        spec=spec,
        run=run_key(spec, data),
        device=device,
        placement=placement,
        train_batches=prepare_batches(images.train, placement),
        val=images.val,
        test=images.test,
        criterion=make_criterion(spec.recipe),
        cost=cost,
        state=state,
        clock=clock or Stopwatch(),
    )


def is_trained(state: RunState, recipe: Recipe) -> bool:
    """Whether its last epoch is done, or as many as `patience` says brought nothing better."""
    done = state.here.epoch - 1
    waited = recipe.patience and done and done - best_epoch(history_of(state.epochs)) >= recipe.patience
    return done >= recipe.epochs or bool(waited)


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
        clock=bench.clock,
        averaged=state.averaged,
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
    for result in _fit(bench) if not is_trained(state, bench.spec.recipe) else ():
        now, stopping = time.perf_counter(), stop.is_set()
        at_end = isinstance(result, EpochResult)
        if isinstance(result, EpochResult):
            check_finite(bench, data, result.train_loss, result.val_loss)
            yield result
            state.end_epoch(result, keep_best=bool(bench.spec.recipe.patience))
        else:
            state.here = result
        if at_end or stopping or now - saved >= checkpoint_seconds:
            if not at_end:
                check_finite(bench, data, state.here.running.loss)
            with bench.clock.paused():
                saved_state = save_state(state, bench.device, bench.run)
            yield saved_state
            reported = saved = time.perf_counter()
        elif now - reported >= SECONDS_BETWEEN_REPORTS:
            yield _progress(bench, data)
            reported = now
        if stopping or (at_end and is_trained(state, bench.spec.recipe)):
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
    again = prepare_run(bench.spec, data, bench.device, bench.placement.precision)
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
    if state.best is not None:
        load_weights(state.judged, state.best)
    started = time.perf_counter()
    predictions = _predict_parts(
        state.judged, bench.val, bench.test, bench.placement, bench.spec.recipe.tta == "mirror"
    )
    predict_seconds = time.perf_counter() - started
    train_seconds = sum(epoch.train_seconds for epoch in state.epochs)
    timing = Timing(
        train_seconds=train_seconds,
        evaluate_seconds=predict_seconds + sum(epoch.evaluate_seconds for epoch in state.epochs),
        images_per_second=bench.train_batches.num_images * len(state.epochs) / train_seconds,
    )
    return RunResult(
        history=history_of(state.epochs),
        kept_epoch=best_epoch(history_of(state.epochs)) if bench.spec.recipe.patience else None,
        predictions=predictions,
        test_loss=mean_loss(predictions.test_probs, predictions.test_labels),
        test_acc=accuracy(predictions.test_probs, predictions.test_labels),
        weights=weights_of(state.judged),
        cost=bench.cost,
        timing=timing,
        resumed_inexactly=state.inexact,
        micro_batches=state.step.pieces,
        placement=bench.placement,
        machine=this_machine(bench.device, bench.placement),
    )


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors by name, each with memory of its own: files refuse tensors that share it."""
    state = model.state_dict()
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}


def _predict_parts(
    model: nn.Module, val: Part, test: Part, placement: Placement, mirror: bool
) -> Predictions:
    device = torch.device(placement.device)
    val_probs, test_probs = (
        predict(
            model, prepare_batches(part.batches(EVAL_BATCH_SIZE), placement), device, mirror=mirror
        ).numpy()
        for part in (val, test)
    )
    return Predictions(
        val_probs=val_probs,
        val_labels=val.targets.numpy(),
        test_probs=test_probs,
        test_labels=test.targets.numpy(),
    )
