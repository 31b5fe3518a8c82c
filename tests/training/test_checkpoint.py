"""A run that is stopped anywhere and goes on ends with the same bytes as one that was never stopped."""

import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.errors import CheckpointError
from tiebreak.training.checkpoint import (
    Checkpoint,
    Resumed,
    machine_difference,
    read_checkpoint,
    this_machine,
)
from tiebreak.training.loop import EpochResult
from tiebreak.training.placement.device import thread_count
from tiebreak.training.placement.placement import Placement
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import RunResult, run_key, train_run
from tiebreak.training.spec import RunSpec

CPU = torch.device("cpu")
BATCH_NORM = """
from torch import nn

def make(image_shape, num_classes):
    channels, height, width = image_shape
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2),
        nn.Flatten(), nn.Linear(4 * height * width, num_classes),
    )
"""


def some_images(seed: int = 0) -> ImageDataset:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (130, 2, 8, 8), generator=random).to(torch.uint8)
    labels = torch.arange(130) % 3
    return make_dataset("some", images[:100], labels[:100], images[100:], labels[100:], ("a", "b", "c"))


def spec_of(model: str, **recipe: object) -> RunSpec:
    settings = {"epochs": 3, "batch_size": 16} | recipe
    return RunSpec(model=model, recipe=Recipe(**settings), seed=3, val_size=20)


def the_bytes(result: RunResult) -> tuple[object, ...]:
    arrays = [array.tobytes() for array in vars(result.predictions).values()]
    return (*arrays, safetensors.torch.save(result.weights), result.history, result.test_loss)


def train(
    spec: RunSpec, data: ImageDataset, checkpoint: bytes | None = None
) -> tuple[list[Checkpoint], RunResult]:
    """All checkpoints, one after each batch and each epoch, and the result."""
    events = list(train_run(spec, data, CPU, checkpoint, checkpoint_seconds=0.0))
    assert isinstance(events[-1], RunResult)
    return [event for event in events if isinstance(event, Checkpoint)], events[-1]


RECIPES = {
    "sgd, cosine, augmented": (
        "mlp(dropout=0.3)",
        {"optimizer": "sgd", "schedule": "cosine", "flip": True, "crop": 2},
    ),
    "adamw": ("cnn(width=3, dropout=0.5)", {"optimizer": "adamw", "weight_decay": 0.1, "crop": 1}),
    "adam, smoothed": ("linear", {"label_smoothing": 0.1, "schedule": "cosine"}),
    "muon, every image both ways": (
        "mlp(hidden_dim=9)",
        {"optimizer": "muon", "schedule": "linear", "flip": True, "alternate_flip": True, "cutout": 2},
    ),
    "a moving average, mixed images": (
        "cnn(width=3, dropout=0.5)",
        {"ema": 0.9, "mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1},
    ),
    # Validation images are noise: the best epoch is an early one, and training stops before the last.
    "the best epoch kept": ("mlp(dropout=0.3)", {"lr": 0.03, "epochs": 9, "patience": 2}),
    "the best epoch of a moving average": ("mlp", {"lr": 0.1, "epochs": 9, "patience": 2, "ema": 0.8}),
    "small images at first": (
        "resnet(depth=8, width=8)",
        {"small_size": 6, "small_share": 0.4, "flip": True, "cutmix": 1.0},
    ),
    "a moving average of batch statistics": ("", {"ema": 0.8, "flip": True}),
    "batch statistics": ("", {"optimizer": "sgd", "lr": 0.05, "flip": True}),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_resumed_after_any_batch_ends_with_the_same_bytes(name: str, tmp_path: Path) -> None:
    model, recipe = RECIPES[name]
    if not model:
        (tmp_path / "net.py").write_text(BATCH_NORM)
        model = f"{tmp_path / 'net.py'}:make"
    spec, data = spec_of(model, **recipe), some_images()
    with thread_count(1):
        checkpoints, uninterrupted = train(spec, data)
        assert [(c.epoch, c.batch) for c in checkpoints[:6]] == [
            (1, 1),
            (1, 2),
            (1, 3),
            (1, 4),
            (1, 5),
            (2, 0),
        ]
        # In an epoch's beginning, middle and end, between two epochs, and after the last.
        for checkpoint in (*checkpoints[::4], *checkpoints[5::12]):
            later, resumed = train(spec, data, checkpoint.content)
            assert the_bytes(resumed) == the_bytes(uninterrupted)
            assert resumed.resumed_inexactly is None
            # What the resumed run saves is again what the uninterrupted one saved there.
            assert len(later) == len(
                [c for c in checkpoints if (c.epoch, c.batch) > (checkpoint.epoch, checkpoint.batch)]
            )


def test_checkpoints_do_not_change_what_is_trained() -> None:
    spec, data = spec_of("mlp(dropout=0.3)"), some_images()
    with thread_count(1):
        plain = list(train_run(spec, data, CPU))[-1]
        assert isinstance(plain, RunResult)
        assert the_bytes(train(spec, data)[1]) == the_bytes(plain)


def test_a_request_to_stop_is_granted_after_the_batch_with_a_checkpoint() -> None:
    spec, data, stop = spec_of("mlp"), some_images(), threading.Event()
    with thread_count(1):
        events = []
        for event in train_run(spec, data, CPU, checkpoint_seconds=0.0, stop=stop):
            events.append(event)
            if isinstance(event, Checkpoint) and (event.epoch, event.batch) == (2, 2):
                stop.set()
        last = events[-1]
        assert isinstance(last, Checkpoint)
        assert (last.epoch, last.batch) == (2, 3)
        assert the_bytes(train(spec, data, last.content)[1]) == the_bytes(train(spec, data)[1])


def test_a_resumed_run_says_where_it_goes_on_and_counts_the_time_before() -> None:
    spec, data = spec_of("mlp"), some_images()
    with thread_count(1):
        checkpoints, _ = train(spec, data)
        middle = checkpoints[8]
        header, _ = read_checkpoint(middle.content, run_key(spec, data))
        first, *events = train_run(spec, data, CPU, middle.content)
    assert isinstance(first, Resumed)
    assert str(first) == "goes on in epoch 2 after 3 batches"
    epochs = [event for event in events if isinstance(event, EpochResult)]
    assert [epoch.epoch for epoch in epochs] == [2, 3]
    assert epochs[0].train_seconds > header.epoch_seconds
    result = events[-1]
    assert isinstance(result, RunResult)
    timing = result.timing
    assert timing.evaluate_seconds > sum(epoch.evaluate_seconds for epoch in (*header.epochs, *epochs)) > 0
    assert timing.train_seconds == sum(epoch.train_seconds for epoch in (*header.epochs, *epochs))


def test_another_number_of_threads_is_said_and_stays_said() -> None:
    spec, data = spec_of("linear"), some_images()
    with thread_count(1):
        checkpoints, _ = train(spec, data)
    with thread_count(2):
        first, *events = train_run(spec, data, CPU, checkpoints[2].content, checkpoint_seconds=0.0)
    assert isinstance(first, Resumed)
    assert str(first) == "goes on in epoch 1 after 3 batches; not bit for bit, as threads was 1 and is 2"
    again = next(event for event in events if isinstance(event, Checkpoint))
    with thread_count(2):
        result = train(spec, data, again.content)[1]
    assert result.resumed_inexactly == "threads was 1 and is 2"


def test_each_part_of_the_machine_counts() -> None:
    here = this_machine(CPU, Placement(device="cpu", precision="fp32"))
    assert machine_difference(here, here) is None
    for name in type(here).model_fields:
        other = here.model_copy(update={name: "other"})
        assert f"{name} was other" in str(machine_difference(other, here))


def test_a_checkpoint_holds_tensors_and_text_alone() -> None:
    spec, data = spec_of("mlp", optimizer="sgd"), some_images()
    content = train(spec, data)[0][4].content
    tensors = safetensors.torch.load(content)
    assert {name.partition(".")[0] for name in tensors} == {
        "model",
        "optimizer",
        "streams",
        "running",
        "global",
    }
    header, _ = read_checkpoint(content, run_key(spec, data))
    assert (header.epoch, header.batch, header.samples) == (1, 5, 80)


def test_a_checkpoint_of_something_else_is_refused() -> None:
    spec, data = spec_of("mlp"), some_images()
    content = train(spec, data)[0][0].content
    for other_spec, other_data, word in (
        (spec.model_copy(update={"seed": 4}), data, "spec"),
        (spec_of("mlp", lr=0.5), data, "spec"),
        (spec, some_images(seed=1), "data"),
    ):
        with pytest.raises(CheckpointError, match=f"of a run with another {word}. Remove"):
            list(train_run(other_spec, other_data, CPU, content))


def test_a_damaged_checkpoint_is_refused_wherever_it_is_cut() -> None:
    spec, data = spec_of("linear"), some_images()
    content = train(spec, data)[0][0].content
    for length in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(
            CheckpointError, match=r"The checkpoint is damaged. Remove checkpoint.safetensors"
        ):
            list(train_run(spec, data, CPU, content[:length]))


def test_a_checkpoint_of_another_format_is_refused() -> None:
    spec, data = spec_of("linear"), some_images()
    content = train(spec, data)[0][0].content.replace(rb"{\"format\":2", rb"{\"format\":7")
    with pytest.raises(CheckpointError, match="has format 7, this tiebreak reads 2"):
        list(train_run(spec, data, CPU, content))


def test_a_model_file_that_was_changed_in_between_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(BATCH_NORM)
    spec, data = spec_of(f"{file}:make"), some_images()
    content = train(spec, data)[0][3].content
    file.write_text(
        BATCH_NORM.replace("4 * height", "5 * height").replace("4, 3", "5, 3").replace("2d(4)", "2d(5)")
    )
    with pytest.raises(CheckpointError, match="The checkpoint does not fit the model"):
        list(train_run(spec, data, CPU, content))
