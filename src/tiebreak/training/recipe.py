"""Recipe: how a model is trained. The defaults are the case study's."""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from tiebreak.data.augment import Augment
from tiebreak.kernels import has_adam
from tiebreak.training.adam import Adam
from tiebreak.training.fused import keep_bf16_gradients


class Recipe(BaseModel):
    """Everything that decides how weights follow from data, seed and architecture."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(default=1e-3, gt=0)  # learning rate, at its peak
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)  # of sgd
    schedule: Literal["constant", "cosine"] = "constant"  # cosine: from lr down to 0, a step a batch
    epochs: int = Field(default=5, ge=1)  # passes over the training split
    batch_size: int = Field(default=128, ge=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    flip: bool = False  # augmentation: mirror images left and right
    crop: int = Field(default=0, ge=0, le=64)  # augmentation: shift by up to this many pixels

    @property
    def augment(self) -> Augment | None:
        return Augment(flip=self.flip, crop=self.crop) if self.flip or self.crop else None


def make_criterion(recipe: Recipe) -> nn.Module:
    """Cross entropy, the mean over a batch."""
    return nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser, in a fused form (one pass over all of a parameter's state)."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            parameters, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True
        )
    elif has_adam() and keep_bf16_gradients(model):
        optimizer = Adam(
            parameters,
            recipe.lr,
            weight_decay=recipe.weight_decay,
            decoupled_weight_decay=recipe.optimizer == "adamw",
        )
    else:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
        optimizer = kind(parameters, recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    optimizer.register_load_state_dict_post_hook(lay_out_like_parameters)
    return optimizer


def lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give what the optimiser remembers of a parameter that parameter's memory layout.

    The fused forms walk through both in the order of memory, and what was loaded from a file is not in the
    order of a channels_last parameter.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def make_scheduler(
    recipe: Recipe, optimizer: torch.optim.Optimizer, batches_per_epoch: int
) -> LRScheduler | None:
    """What changes the learning rate after each batch; None if it is constant."""
    if recipe.schedule == "constant":
        return None
    return CosineAnnealingLR(optimizer, T_max=recipe.epochs * batches_per_epoch)
