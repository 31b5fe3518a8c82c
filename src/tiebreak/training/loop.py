"""The training loop: the whole workflow of a classifier, to be read from top to bottom.

Shape letters: B images of a batch, C channels, H height, W width, K classes.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from tiebreak.data.batches import Batch, Batches
from tiebreak.results.run import History
from tiebreak.training.clock import Stopwatch

Labels = Int64[Tensor, " B"] | Float[Tensor, "B K"]  # class numbers, or shares of mixed images' classes
BatchSource = Batches | Iterable[Batch]  # a plain DataLoader is one too


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What one epoch brought. Losses are means over samples, accuracies fractions."""

    epoch: int  # from 1
    train_loss: float
    train_acc: float
    val_loss: float
    val_acc: float
    train_seconds: float  # of the training part of the epoch, evaluation left out
    evaluate_seconds: float = 0.0  # of the evaluation on val that followed

    def __str__(self) -> str:
        return (
            f"Epoch {self.epoch:02d} | train loss {self.train_loss:.4f} acc {self.train_acc:.4f} | "
            f"val loss {self.val_loss:.4f} acc {self.val_acc:.4f}"
        )


@dataclass
class RunningMean:
    """Sums over the samples seen so far, kept as tensors so that no batch waits for its result."""

    loss_sum: Float[Tensor, ""]
    correct: Int64[Tensor, ""]
    samples: int = 0

    @classmethod
    def zero(cls, device: torch.device) -> "RunningMean":
        # MPS has no float64; elsewhere it keeps thousands of additions exact enough to ignore.
        wide = torch.float32 if device.type == "mps" else torch.float64
        return cls(
            torch.zeros((), dtype=wide, device=device), torch.zeros((), dtype=torch.int64, device=device)
        )

    def add(self, loss: Tensor, logits: Float[Tensor, "B K"], labels: Labels) -> None:
        if labels.dim() == 2:
            labels = labels.argmax(dim=1)
        self.loss_sum += loss.detach() * len(labels)
        self.correct += (logits.detach().argmax(dim=1) == labels).sum()
        self.samples += len(labels)

    @property
    def loss(self) -> float:
        return float(self.loss_sum) / self.samples

    @property
    def accuracy(self) -> float:
        return int(self.correct) / self.samples


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Where training stands after one batch."""

    epoch: int  # from 1
    batch: int  # of this epoch, from 1; 0: the epoch is about to begin
    running: RunningMean
    seconds: float  # that this epoch has trained so far

    @classmethod
    def before(cls, epoch: int, device: torch.device) -> "StepResult":
        return cls(epoch=epoch, batch=0, running=RunningMean.zero(device), seconds=0.0)


def train_step(
    model: nn.Module,
    images: Float[Tensor, "B C H W"],
    labels: Labels,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> tuple[Float[Tensor, ""], Float[Tensor, "B K"]]:
    """One update of the parameters on one batch. Returns the loss and the logits from before it."""
    optimizer.zero_grad()
    logits = model(images)
    loss = criterion(logits, labels)
    loss.backward()
    optimizer.step()
    return loss.detach(), logits.detach()


Step = Callable[..., tuple[Tensor, Tensor]]  # takes and gives what `train_step` does


def train_steps(
    model: nn.Module,
    batches: BatchSource,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    scheduler: LRScheduler | None = None,
    running: RunningMean | None = None,
    step: Step = train_step,
    averaged: AveragedModel | None = None,
) -> Iterator[RunningMean]:
    """Update the parameters once a batch; gives the running mean after each update."""
    running = running or RunningMean.zero(device)
    model.train()
    for images, labels in batches:
        images, labels = images.to(device), labels.to(device)
        loss, logits = step(model, images, labels, criterion, optimizer)
        if scheduler is not None:
            scheduler.step()
        if averaged is not None:
            averaged.update_parameters(model)
        running.add(loss, logits, labels)
        yield running


def train_one_epoch(
    model: nn.Module,
    batches: BatchSource,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    scheduler: LRScheduler | None = None,
) -> tuple[float, float]:
    """One full pass over the training batches. Returns mean loss over samples and fraction correct."""
    running = RunningMean.zero(device)
    for _ in train_steps(model, batches, criterion, optimizer, device, scheduler, running):
        pass
    return running.loss, running.accuracy


@torch.no_grad()
def evaluate(
    model: nn.Module, batches: BatchSource, criterion: nn.Module, device: torch.device
) -> tuple[float, float]:
    """Mean loss over samples and fraction correct, parameters left alone."""
    running = RunningMean.zero(device)
    model.eval()
    for images, labels in batches:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        running.add(criterion(logits, labels), logits, labels)
    return running.loss, running.accuracy


@torch.no_grad()
def predict(
    model: nn.Module, batches: BatchSource, device: torch.device, *, mirror: bool = False
) -> Float[Tensor, "N K"]:
    """Class probabilities of every image, in the order of the batches, on the CPU.

    `mirror`: from the mean of the logits of the image and of its mirror image.
    """
    model.eval()
    found = []
    for images, _ in batches:
        images = images.to(device)
        logits = model(images).float()
        if mirror:
            logits = (logits + model(images.flip(3)).float()) / 2
        found.append(logits.softmax(dim=1).cpu())
    return torch.cat(found)


def fit_steps(
    model: nn.Module,
    train_batches: BatchSource,
    val_batches: BatchSource,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    epochs: int = 5,
    scheduler: LRScheduler | None = None,
    *,
    after: StepResult | None = None,
    step: Step = train_step,
    clock: Stopwatch | None = None,
    averaged: AveragedModel | None = None,
) -> Iterator[StepResult | EpochResult]:
    """Train for several epochs; gives a result after every batch, and one after every epoch.

    `averaged`: takes up the weights after every update, and is what is validated.

    `after`: go on where this step ended. Model, optimizer, scheduler and the generator of the batches
    must stand as they did then, the last as at the beginning of that epoch.

    `clock`: counts the seconds. Who does something else between two results pauses it; it does not stop by
    itself, because a device computes on while its results are read.
    """
    here, clock = after or StepResult.before(1, device), clock or Stopwatch()
    for epoch in range(here.epoch, epochs + 1):
        clock.restart(here.seconds)
        running, rest = here.running, _of_epoch(train_batches, epoch, here.batch)
        steps = train_steps(model, rest, criterion, optimizer, device, scheduler, running, step, averaged)
        for batch, running in enumerate(steps, start=here.batch + 1):
            yield StepResult(epoch=epoch, batch=batch, running=running, seconds=clock.seconds)
        train_loss, train_acc = running.loss, running.accuracy
        train_seconds = clock.seconds
        val_loss, val_acc = evaluate(averaged or model, val_batches, criterion, device)
        here = StepResult.before(epoch + 1, device)
        yield EpochResult(
            epoch=epoch,
            train_loss=train_loss,
            train_acc=train_acc,
            val_loss=val_loss,
            val_acc=val_acc,
            train_seconds=train_seconds,
            evaluate_seconds=clock.seconds - train_seconds,
        )


def _of_epoch(batches: BatchSource, epoch: int, first: int) -> Iterable[Batch]:
    if isinstance(batches, Batches):
        return batches.epoch(first, epoch)
    return islice(batches, first, None) if first else batches


def fit(
    model: nn.Module,
    train_batches: BatchSource,
    val_batches: BatchSource,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    epochs: int = 5,
    *,
    verbose: bool = False,
) -> History:
    """Train for several epochs and return their history. With `verbose`, print a line an epoch."""
    epoch_results = []
    for result in fit_steps(model, train_batches, val_batches, criterion, optimizer, device, epochs):
        if isinstance(result, EpochResult):
            epoch_results.append(result)
            if verbose:
                print(result)
    return history_of(epoch_results)


def history_of(results: list[EpochResult]) -> History:
    """The curves that a list of epochs makes."""
    return History(
        train_loss=[result.train_loss for result in results],
        train_acc=[result.train_acc for result in results],
        val_loss=[result.val_loss for result in results],
        val_acc=[result.val_acc for result in results],
    )
