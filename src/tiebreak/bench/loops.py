"""The training loops that are measured: the case study's, one from memory, and tiebreak's own.

Shape letters: N images, B images of a batch, C channels, H height, W width.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tiebreak.data.dataset import ImageDataset, Part, make_dataset
from tiebreak.models.catalog import build_model
from tiebreak.rng import stream
from tiebreak.training.loop import train_steps
from tiebreak.training.placement.placement import Placement, Precision
from tiebreak.training.placement.precision import choose_placement, computing, prepare_batches, prepare_model
from tiebreak.training.recipe.optimiser import make_criterion, make_optimizer
from tiebreak.training.recipe.recipe import Recipe

BATCH_SIZE = 128
BENCH_IMAGES = 78 * BATCH_SIZE  # at most; an epoch's speed does not depend on how many there are
WARM_UP_STEPS = 3  # the first steps allocate memory and choose kernels
CASE_STUDY, IN_MEMORY = "case study's loop", "in-memory tensors"
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
CPU = torch.device("cpu")


def random_images(count: int = BENCH_IMAGES) -> ImageDataset:
    """Images of CIFAR-10's size with random pixels: what they show does not change how long a step takes."""
    generator = stream(0, "bench")
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    classes = tuple(map(str, range(10)))
    return make_dataset("random", images, labels, images[:10], labels[:10], classes)


def bench_part(data: ImageDataset) -> Part:
    """The images that are trained on: whole batches only, so that each step is as much work as any other."""
    count = min(len(data.train_labels), BENCH_IMAGES)
    count -= count % BATCH_SIZE if count > BATCH_SIZE else 0
    images, labels = data.train_images[:count].contiguous(), data.train_labels[:count]
    return Part(images=images, labels=labels, mean=data.mean, std=data.std)


@dataclass(frozen=True, kw_only=True)
class TrainingLoop:
    """Something that trains, a batch at a `next`, inside its switches."""

    steps: Iterator[None]
    precision: Precision
    placement: Placement | None = None

    def step(self) -> None:
        with computing(self.placement) if self.placement else nullcontext():
            next(self.steps)

    def steps_a_second(self, seconds: float) -> float:
        """Measured for at least so long, and one step."""
        started = time.perf_counter()
        for steps in itertools.count(1):
            self.step()
            if (passed := time.perf_counter() - started) >= seconds:
                return steps / passed
        raise AssertionError("itertools.count has no end")


def plain_loops(model: str, data: ImageDataset, part: Part) -> dict[str, TrainingLoop]:
    """The case study's loop, and the same from memory; warmed up.

    Raises: ModelError if the model cannot be built for this data.
    """
    make = partial(build_model, model, data.image_shape, data.num_classes)
    return {
        CASE_STUDY: _warm(TrainingLoop(steps=case_study_steps(make(), part), precision="fp32")),
        IN_MEMORY: _warm(TrainingLoop(steps=in_memory_steps(make(), part), precision="fp32")),
    }


def tiebreak_loops(
    model: str, data: ImageDataset, part: Part, precisions: Sequence[Precision] = PRECISIONS
) -> dict[Precision, TrainingLoop]:
    """What a run of a study does, in each precision; warmed up.

    Raises: ModelError if the model cannot be built for this data.
    """
    loops: dict[Precision, TrainingLoop] = {}
    for precision in precisions:
        network = build_model(model, data.image_shape, data.num_classes)
        placement = choose_placement(network, data.image_shape, CPU, precision)
        steps = tiebreak_steps(network, part, placement)
        loops[precision] = _warm(TrainingLoop(steps=steps, precision=precision, placement=placement))
    return loops


def _warm(loop: TrainingLoop) -> TrainingLoop:
    for _ in range(WARM_UP_STEPS):
        loop.step()
    return loop


class OneByOne(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR10 does with ToTensor and Normalize: an image at a time, from a PIL image."""

    def __init__(self, part: Part) -> None:
        self.pixels = np.ascontiguousarray(part.images.numpy().transpose(0, 2, 3, 1))
        self.labels = part.labels.tolist()
        self.mean, self.std = part.mean, part.std

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "C H W"], int]:
        pixels = self.pixels[index]
        image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        return self.normalise(self.to_tensor(image)), self.labels[index]

    def to_tensor(self, image: Image.Image) -> Float[Tensor, "C H W"]:
        pixels = torch.from_numpy(np.array(image, copy=True))
        pixels = pixels.view(image.size[1], image.size[0], len(image.getbands()))
        return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)

    def normalise(self, image: Float[Tensor, "C H W"]) -> Float[Tensor, "C H W"]:
        mean, std = (torch.as_tensor(values, dtype=image.dtype) for values in (self.mean, self.std))
        return image.clone().sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


def case_study_steps(model: nn.Module, part: Part, device: torch.device = CPU) -> Iterator[None]:
    """The case study's loop, without end."""
    order = torch.Generator().manual_seed(0)
    loader = DataLoader(OneByOne(part), BATCH_SIZE, shuffle=True, generator=order, drop_last=True)
    return plain_steps(model, itertools.chain.from_iterable(itertools.repeat(loader)), device)


def in_memory_steps(model: nn.Module, part: Part, device: torch.device = CPU) -> Iterator[None]:
    """The same with all images normalised beforehand."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (part.mean, part.std))
    images = (part.images / 255 - mean) / std
    return plain_steps(model, _batches(images.to(device), part.labels.to(device)), device)


def _batches(images: Float[Tensor, "N C H W"], labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    while True:
        order = torch.randperm(len(images), generator=generator).to(images.device)
        for chosen in order.split(BATCH_SIZE):
            if len(chosen) == min(BATCH_SIZE, len(images)):
                yield images[chosen], labels[chosen]


def plain_steps(
    model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], device: torch.device = CPU
) -> Iterator[None]:
    """The training loop as tutorials write it."""
    model.to(device).train()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    running_loss = correct = samples = 0.0
    for images, labels in batches:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        logits = model(images)
        loss = criterion(logits, labels)
        loss.backward()
        optimizer.step()

        running_loss += loss.item() * labels.size(0)
        correct += (logits.argmax(dim=1) == labels).sum().item()
        samples += labels.size(0)
        yield


def tiebreak_steps(model: nn.Module, part: Part, placement: Placement) -> Iterator[None]:
    """What a run of a study does, without end."""
    prepared = prepare_model(model, placement)
    order = torch.Generator().manual_seed(0)
    batches = prepare_batches(part.batches(BATCH_SIZE, shuffle=True, generator=order), placement)
    recipe = Recipe()
    criterion, optimizer = make_criterion(recipe), make_optimizer(recipe, prepared)
    while True:
        for _ in train_steps(prepared, batches, criterion, optimizer, torch.device(placement.device)):
            yield
