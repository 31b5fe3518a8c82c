"""What a recipe's names stand for: the loss, the optimiser, what changes the learning rate."""

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from tiebreak.kernels import has_adam
from tiebreak.training.placement.adam import Adam
from tiebreak.training.placement.fused import keep_bf16_gradients
from tiebreak.training.recipe.recipe import Recipe


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
