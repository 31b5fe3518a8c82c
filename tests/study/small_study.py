"""A study of made-up results, for tests of its folder."""

from pathlib import Path

import numpy as np
import torch

from tiebreak.results.run import Cost, History, Predictions, Timing, accuracy, mean_loss
from tiebreak.study.plan import Study, parse_contender
from tiebreak.study.record import DataFacts
from tiebreak.training.checkpoint import this_machine
from tiebreak.training.placement.placement import Placement
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import RunResult

VAL, TEST, CLASSES = 30, 40, 3
FACTS = DataFacts(
    name="some",
    fingerprint="ab" * 32,
    class_names=("a", "b", "c"),
    image_shape=(1, 8, 8),
    train_images=100,
    val_images=VAL,
    test_images=TEST,
    mean=(0.5,),
    std=(0.2,),
    verified=True,
    notes=(),
)
STUDY = Study(
    contenders=(parse_contender("linear", Recipe()), parse_contender("wide=mlp(hidden_dim=9)", Recipe())),
    seeds=(0, 1),
)
RUN = Path("runs/linear/seed-0")
PLACEMENT = Placement(device="cpu", precision="fp32")


def some_result(seed: int) -> RunResult:
    random = np.random.default_rng(seed)
    probs = random.dirichlet(np.ones(CLASSES), VAL + TEST).astype(np.float32)
    labels = np.concatenate([random.integers(0, CLASSES, VAL), np.arange(TEST) % CLASSES])
    return RunResult(
        history=History(train_loss=[1.0, 0.5], train_acc=[0.3, 0.5], val_loss=[1.0, 0.9], val_acc=[0.3, 0.4]),
        predictions=Predictions(
            val_probs=probs[:VAL], val_labels=labels[:VAL], test_probs=probs[VAL:], test_labels=labels[VAL:]
        ),
        test_loss=mean_loss(probs[VAL:], labels[VAL:]),
        test_acc=accuracy(probs[VAL:], labels[VAL:]),
        weights={"bias": torch.arange(3.0)},
        cost=Cost(params=3, flops=6, bytes=12),
        timing=Timing(train_seconds=1.0, evaluate_seconds=0.5, images_per_second=10.0),
        placement=PLACEMENT,
        machine=this_machine(torch.device("cpu"), PLACEMENT),
    )
