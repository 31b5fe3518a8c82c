"""One run: one model trained with one recipe and one seed, judged on val and, once at the end, on test.

Shape letters: V validation images, T test images, K classes.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from tiebreak.data.dataset import ImageDataset, Part
from tiebreak.data.subset import take_fraction
from tiebreak.data.transform import transform_dataset
from tiebreak.errors import DivergedError
from tiebreak.models.catalog import build_model
from tiebreak.models.cost import Cost, model_cost
from tiebreak.rng import derive_seed, global_stream, stream
from tiebreak.training.loop import EpochResult, History, StepResult, fit_steps, history_of, predict
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


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds by the wall clock."""

    train_seconds: float  # of all training epochs, evaluation left out
    evaluate_seconds: float
    images_per_second: float  # while training


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


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """Where a run stands inside an epoch."""

    epoch: int
    batch: int
    batches: int
    loss: float
    accuracy: float
    images_per_second: float


RunEvent = RunProgress | EpochResult | RunResult


def train_run(spec: RunSpec, data: ImageDataset, device: torch.device) -> Iterator[RunEvent]:
    """Train as `spec` says. Gives progress, a result per epoch, and at last the run's result.

    Each random draw comes from its own stream of the run's seed: runs of different models with the
    same seed share split, order and augmentation, which is what pairs them.

    Raises: ModelError if the model cannot be built for this data; DataError if the split is impossible.
    """
    started = time.perf_counter()
    recipe, seed = spec.recipe, spec.seed
    data = transform_dataset(data, spec.transforms, seed)
    train, val = data.split(spec.val_size, derive_seed(seed, "split"), spec.stratify)
    train = take_fraction(train, spec.train_fraction, stream(seed, "subset"))
    train_batches = train.batches(
        recipe.batch_size,
        shuffle=True,
        generator=stream(seed, "order"),
        augment=recipe.augment,
        augment_generator=stream(seed, "augment"),
    )
    val_batches = val.batches(EVAL_BATCH_SIZE)
    with global_stream(seed, "init"):
        model = build_model(spec.model, data.image_shape, data.num_classes)
    cost = model_cost(model, data.image_shape)
    model.to(device)
    criterion, optimizer = make_criterion(recipe), make_optimizer(recipe, model)
    scheduler = make_scheduler(recipe, optimizer, len(train_batches))

    epochs: list[EpochResult] = []
    with global_stream(seed, "dropout"):
        results = fit_steps(
            model, train_batches, val_batches, criterion, optimizer, device, recipe.epochs, scheduler
        )
        for result in _thin_out(results, len(train_batches), recipe.batch_size):
            if isinstance(result, EpochResult):
                _check_finite(result)
                epochs.append(result)
            yield result

    predictions = _predict_parts(model, val, data.test, device)
    train_seconds = sum(epoch.train_seconds for epoch in epochs)
    timing = Timing(
        train_seconds=train_seconds,
        evaluate_seconds=time.perf_counter() - started - train_seconds,
        images_per_second=len(train) * len(epochs) / train_seconds,
    )
    yield RunResult(
        history=history_of(epochs),
        predictions=predictions,
        test_loss=_mean_loss(predictions.test_probs, predictions.test_labels),
        test_acc=float((predictions.test_probs.argmax(axis=1) == predictions.test_labels).mean()),
        weights={name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()},
        cost=cost,
        timing=timing,
    )


def _check_finite(result: EpochResult) -> None:
    if not math.isfinite(result.train_loss):
        raise DivergedError(
            f"the loss became {result.train_loss} in epoch {result.epoch}; try a smaller --lr"
        )


def _thin_out(
    results: Iterator[StepResult | EpochResult], batches: int, batch_size: int
) -> Iterator[RunProgress | EpochResult]:
    """Epoch results as they are; of the steps a few a second, as reading a running mean awaits the device."""
    reported = epoch_started = time.perf_counter()
    for result in results:
        now = time.perf_counter()
        if isinstance(result, EpochResult):
            yield result
            epoch_started = time.perf_counter()
        elif now - reported > SECONDS_BETWEEN_REPORTS:
            reported = now
            yield RunProgress(
                epoch=result.epoch,
                batch=result.batch,
                batches=batches,
                loss=result.running.loss,
                accuracy=result.running.accuracy,
                images_per_second=result.batch * batch_size / (now - epoch_started),
            )


def _predict_parts(model: nn.Module, val: Part, test: Part, device: torch.device) -> Predictions:
    val_probs, test_probs = (
        predict(model, part.batches(EVAL_BATCH_SIZE), device).numpy() for part in (val, test)
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
