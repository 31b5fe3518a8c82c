"""Study folders with made-up predictions, written as the driver writes them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from tiebreak.results.run import Cost, Predictions, Timing, mean_loss
from tiebreak.study.environment import describe_environment
from tiebreak.study.plan import Study
from tiebreak.study.record import DataFacts
from tiebreak.study.writing import begin_study, write_failed_run, write_run
from tiebreak.training.checkpoint import this_machine
from tiebreak.training.placement.placement import Placement
from tiebreak.training.run import RunResult

CLASSES = ("cat", "dog", "ship")
PLACEMENT = Placement(device="cpu", precision="fp32")


def facts(test_images: int, classes: Sequence[str] = CLASSES) -> DataFacts:
    return DataFacts(
        name="made-up",
        fingerprint="0" * 64,
        class_names=tuple(classes),
        image_shape=(1, 8, 8),
        train_images=90,
        val_images=100,
        test_images=test_images,
        mean=(0.5,),
        std=(0.5,),
        verified=True,
        notes=(),
    )


def result(correct: np.ndarray, params: int = 100, classes: int = len(CLASSES)) -> RunResult:
    """A finished run that gets these test images right, each answer with a probability of 0.8."""
    labels = np.arange(len(correct)) % classes
    answers = np.where(correct, labels, (labels + 1) % classes)
    probs = np.full((len(correct), classes), 0.2 / (classes - 1), dtype=np.float32)
    probs[np.arange(len(correct)), answers] = 0.8
    accuracy = float(correct.mean())
    curve = {"train_loss": [1.0], "train_acc": [0.9], "val_loss": [1.0], "val_acc": [accuracy]}
    return RunResult(
        history=curve,
        predictions=Predictions(
            val_probs=np.tile(probs[:10], (10, 1)),
            val_labels=np.tile(labels[:10], 10),
            test_probs=probs,
            test_labels=labels,
        ),
        test_loss=mean_loss(probs, labels),
        test_acc=accuracy,
        weights={},
        cost=Cost(params=params, flops=2 * params, bytes=4 * params),
        timing=Timing(train_seconds=2.0, evaluate_seconds=0.5, images_per_second=100.0),
        placement=PLACEMENT,
        machine=this_machine(torch.device("cpu"), PLACEMENT),
    )


def write_study(
    folder: Path,
    study: Study,
    correct: Mapping[str, np.ndarray],
    *,
    seeds: Iterable[int] | None = None,
    failed: Iterable[tuple[str, int]] = (),
    classes: Sequence[str] = CLASSES,
) -> Path:
    """Write the runs of some seeds (default: all); `correct`: contender -> bool [seed, example]."""
    test_images = next(iter(correct.values())).shape[1]
    begin_study(folder, study, facts(test_images, classes), describe_environment())
    for number, contender in enumerate(study.contenders, start=1):
        for seed in study.seeds if seeds is None else seeds:
            if (contender.label, seed) in failed:
                write_failed_run(folder, contender, seed, "the loss is not a number")
            else:
                run = result(correct[contender.label][seed], 100 * number, len(classes))
                write_run(folder, contender, seed, run, "cpu", 1)
    return folder
