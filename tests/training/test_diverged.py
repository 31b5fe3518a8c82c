"""Training that goes wrong: numbers that are not finite, and batches that do not fit the memory."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.errors import DeviceMemoryError, DivergedError
from tiebreak.models.cnn import SimpleCNN
from tiebreak.rng import global_stream
from tiebreak.training.checkpoint import Checkpoint
from tiebreak.training.loop import train_step
from tiebreak.training.placement.micro_batches import (
    FrugalStep,
    batch_statistics,
    memory_advice,
    train_step_in_pieces,
)
from tiebreak.training.recipe.optimiser import make_optimizer
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import RunResult, train_run
from tiebreak.training.spec import RunSpec

CPU = torch.device("cpu")

# A layer whose gradient is infinite where its input holds more than `limit` bright pixels.
TRAP = """
import torch
from torch import nn

class Trap(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, hit):
        ctx.hit = hit
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (float("inf") if ctx.hit else 1.0), None

class Net(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        size = image_shape[0] * image_shape[1] * image_shape[2]
        self.first, self.last = nn.Linear(size, 4), nn.Linear(4, num_classes)
        self.register_buffer("mask", torch.full((4,), float("-inf")))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, images):
        if self.training:
            self.steps += 1
        hidden = self.first(images.flatten(1))
        return self.last(Trap.apply(hidden, int(self.steps) == TRAPPED))
"""


def some_images() -> ImageDataset:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (130, 1, 8, 8), generator=random).to(torch.uint8)
    labels = torch.arange(130) % 3
    return make_dataset("some", images[:100], labels[:100], images[100:], labels[100:], ("a", "b", "c"))


def spec_of(model: str, **recipe: object) -> RunSpec:
    settings = {"epochs": 3, "batch_size": 16} | recipe
    return RunSpec(model=model, recipe=Recipe(**settings), seed=3, val_size=20)


def test_a_loss_that_explodes_ends_the_run_with_epoch_and_batch() -> None:
    with pytest.raises(
        DivergedError, match=r"the loss is (nan|inf) in epoch 1, batch \d; try a smaller --lr"
    ):
        list(train_run(spec_of("mlp", optimizer="sgd", lr=1e25), some_images(), CPU))


@pytest.mark.parametrize(
    ("trapped", "place"), [(2, "epoch 1, batch 2"), (8, "epoch 2, batch 3"), (15, "epoch 3, batch 5")]
)
@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9])
def test_a_gradient_that_is_not_finite_is_named_with_its_place(
    trapped: int, place: str, checkpoint_seconds: float, tmp_path: Path
) -> None:
    file = tmp_path / "net.py"
    file.write_text(TRAP.replace("TRAPPED", str(trapped)))
    run = train_run(spec_of(f"{file}:Net"), some_images(), CPU, checkpoint_seconds=checkpoint_seconds)
    with pytest.raises(DivergedError, match=f"the gradient of first.weight is not finite in {place}; try"):
        list(run)


def test_no_checkpoint_ever_holds_a_number_that_is_not_finite(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(TRAP.replace("TRAPPED", "8"))
    events = []
    with pytest.raises(DivergedError):
        for event in train_run(spec_of(f"{file}:Net"), some_images(), CPU, checkpoint_seconds=0.0):
            events.append(event)  # noqa: PERF402 - what came before the error counts
    last = [event for event in events if isinstance(event, Checkpoint)][-1]
    assert (last.epoch, last.batch) == (2, 2)


def test_a_buffer_of_minus_infinity_is_no_divergence(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(TRAP.replace("TRAPPED", "-1"))
    assert isinstance(list(train_run(spec_of(f"{file}:Net"), some_images(), CPU))[-1], RunResult)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("pieces", [2, 3, 13])
def test_pieces_of_a_batch_give_the_update_of_the_whole(optimizer: str, pieces: int) -> None:
    random = torch.Generator().manual_seed(0)
    images, labels = torch.randn(13, 3, 8, 8, generator=random), torch.arange(13) % 4
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    models, outcomes = [], []
    for count in (1, pieces):
        with global_stream(0, "init"):
            model = SimpleCNN((3, 8, 8), 4, width=5)
        step = make_optimizer(Recipe(optimizer=optimizer, lr=1e-3), model)
        for _ in range(3):
            outcome = (
                train_step(model, images, labels, criterion, step)
                if count == 1
                else train_step_in_pieces(model, images, labels, criterion, step, count)
            )
        models.append(model)
        outcomes.append(outcome)
    whole, in_pieces = ([*model.parameters()] for model in models)
    for one, other in zip(whole, in_pieces, strict=True):
        torch.testing.assert_close(other, one, atol=1e-6, rtol=0)
    for one, other in zip(*outcomes, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=0)


# A model that knows how many images its device holds while training.
SMALL_MEMORY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, image_shape, num_classes, holds=5, norm=False):
        super().__init__()
        size = image_shape[0] * image_shape[1] * image_shape[2]
        self.holds = holds
        middle = nn.BatchNorm1d(6) if norm else nn.LayerNorm(6)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(size, 6), middle, nn.Linear(6, num_classes))

    def forward(self, images):
        if self.training and len(images) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.net(images)
"""


def test_a_batch_that_does_not_fit_is_split_with_the_same_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "net.py"
    file.write_text(SMALL_MEMORY)
    whole, split = (
        list(train_run(spec_of(f"{file}:Net(holds={holds})"), some_images(), CPU, precision="fp32"))[-1]
        for holds in (100, 5)
    )
    assert isinstance(whole, RunResult)
    assert isinstance(split, RunResult)
    assert (whole.micro_batches, split.micro_batches) == (1, 4)
    for name, tensor in whole.weights.items():
        torch.testing.assert_close(split.weights[name], tensor, atol=1e-5, rtol=0)
    assert [record.message for record in caplog.records] == [
        f"A batch does not fit the device's memory; it is computed in {pieces} pieces." for pieces in (2, 4)
    ]


def test_batch_statistics_forbid_splitting(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(SMALL_MEMORY)
    with pytest.raises(
        DeviceMemoryError,
        match=r"16 images .* cannot be split, because BatchNorm1d net.2 takes statistics .* --batch-size",
    ):
        list(train_run(spec_of(f"{file}:Net(norm=True)"), some_images(), CPU))


def test_a_single_image_that_does_not_fit_is_said(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(SMALL_MEMORY)
    with pytest.raises(
        DeviceMemoryError, match="not even one image at a time fits the device's memory; choose"
    ):
        list(train_run(spec_of(f"{file}:Net(holds=0)"), some_images(), CPU))


def test_only_layers_that_mix_images_count_as_batch_statistics() -> None:
    assert batch_statistics(nn.Sequential(nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4))) is None
    assert (
        batch_statistics(nn.Sequential(nn.InstanceNorm2d(4, track_running_stats=True))) == "InstanceNorm2d 0"
    )
    assert batch_statistics(nn.BatchNorm2d(4, track_running_stats=False)) == "BatchNorm2d"


@pytest.mark.parametrize(
    "words",
    [
        "MPS backend out of memory (MPS allocated: 9 GB)",
        "[enforce fail] DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_out_of_memory_outside_of_a_step_is_told_with_advice(words: str) -> None:
    with (
        pytest.raises(
            DeviceMemoryError, match="does not hold the model and its images; choose a smaller model"
        ),
        memory_advice(),
    ):
        raise RuntimeError(words)


def test_other_errors_of_a_step_pass() -> None:
    with global_stream(0, "init"):
        model = SimpleCNN((3, 8, 8), 4, width=2)
    optimizer = make_optimizer(Recipe(), model)
    with pytest.raises(RuntimeError, match="expected input"):
        FrugalStep()(
            model,
            torch.zeros(2, 1, 8, 8),
            torch.zeros(2, dtype=torch.int64),
            nn.CrossEntropyLoss(),
            optimizer,
        )
