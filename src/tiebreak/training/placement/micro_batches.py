"""Where the device's memory does not hold a batch: the same update from smaller pieces.

Shape letters: B images of a batch, C channels, H height, W width, K classes.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tiebreak.errors import DeviceMemoryError
from tiebreak.training.loop import Labels, train_step

log = logging.getLogger(__name__)

# PyTorch's own class is for CUDA; other devices say it in words.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")


def train_step_in_pieces(
    model: nn.Module,
    images: Float[Tensor, "B C H W"],
    labels: Labels,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    pieces: int,
) -> tuple[Float[Tensor, ""], Float[Tensor, "B K"]]:
    """`train_step` with the gradient added up over pieces of the batch.

    The criterion must be a mean over images: the batch's mean is then the pieces' means weighted by
    their sizes, and the update is the whole batch's up to rounding, unless the model mixes images.
    """
    optimizer.zero_grad()
    for parameter in model.parameters():
        if getattr(parameter, "grad_dtype", None) not in (None, parameter.dtype):
            parameter.grad_dtype = parameter.dtype  # gradients are added up, which bfloat16 is too coarse for
    losses, logits = [], []
    for some, truth in zip(images.chunk(pieces), labels.chunk(pieces), strict=True):
        logits_of_piece = model(some)
        loss = criterion(logits_of_piece, truth) * (len(some) / len(images))
        loss.backward()
        losses.append(loss.detach())
        logits.append(logits_of_piece.detach())
    optimizer.step()
    return torch.stack(losses).sum(), torch.cat(logits)


class FrugalStep:
    """`train_step` as long as the memory holds a batch; from then on the same in pieces."""

    def __init__(self, pieces: int = 1) -> None:
        self.pieces = pieces

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "B C H W"],
        labels: Labels,
        criterion: nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "B K"]]:
        """One update. Raises: DeviceMemoryError if splitting is impossible or would change the result."""
        while True:
            try:
                if self.pieces == 1:
                    return train_step(model, images, labels, criterion, optimizer)
                return train_step_in_pieces(model, images, labels, criterion, optimizer, self.pieces)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Out here the failed attempt's activations are no longer held by its traceback.
            optimizer.zero_grad()
            self._split_further(model, len(images))

    def _split_further(self, model: nn.Module, images: int) -> None:
        layer = batch_statistics(model)
        if layer is not None:
            raise DeviceMemoryError(
                f"a batch of {images} images does not fit the device's memory and cannot be split, because "
                f"{layer} takes statistics over the whole batch; choose a smaller --batch-size"
            )
        if self.pieces >= images:
            raise DeviceMemoryError(
                "not even one image at a time fits the device's memory; "
                "choose a smaller model or --device cpu"
            )
        self.pieces = min(2 * self.pieces, images)
        log.warning("A batch does not fit the device's memory; it is computed in %d pieces.", self.pieces)


def batch_statistics(model: nn.Module) -> str | None:
    """The name of a layer whose output for an image depends on the others of the batch; None without one."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and (
            module.track_running_stats or isinstance(module, nn.modules.batchnorm._BatchNorm)
        ):
            return f"{type(module).__name__} {name}".strip()
    return None


def is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


@contextmanager
def memory_advice() -> Iterator[None]:
    """Out of memory anywhere else in a run: an error that says what helps.

    Raises: DeviceMemoryError.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceMemoryError(
            "the device's memory does not hold the model and its images; "
            "choose a smaller model or --device cpu"
        ) from None
