"""What a recipe's names stand for: the loss, the optimiser, what changes the learning rate."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tiebreak.kernels import has_adam
from tiebreak.training.placement.adam import Adam
from tiebreak.training.placement.fused import keep_bf16_gradients
from tiebreak.training.recipe.muon import Muon, split_hidden
from tiebreak.training.recipe.recipe import Recipe


def make_criterion(recipe: Recipe) -> nn.Module:
    """Cross entropy, the mean over a batch."""
    return nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser, in a fused form (one pass over all of a parameter's state)."""
    parameters = parameter_groups(recipe, model.parameters())
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            parameters,
            recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
    elif recipe.optimizer == "muon":
        hidden, others = split_hidden([weight for weight in model.parameters() if weight.requires_grad])
        optimizer = Muon(
            hidden,
            parameter_groups(recipe, others),
            recipe.lr,
            adam_lr=recipe.adam_lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
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
    if recipe.clip:
        optimizer.register_step_pre_hook(partial(clip_gradients, recipe.clip))
    return optimizer


def parameter_groups(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """Those to train; without `decay_norms`, those of one axis (biases, norms) are not decayed."""
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    if recipe.decay_norms:
        return [{"params": parameters}]
    decayed = [parameter for parameter in parameters if parameter.dim() > 1]
    others = [parameter for parameter in parameters if parameter.dim() <= 1]
    return [{"params": decayed}, {"params": others, "weight_decay": 0.0}]


def clip_gradients(largest: float, optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Scale the gradient of a step down to that norm, if it is larger."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    nn.utils.clip_grad_norm_(parameters, largest)


def lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give what the optimiser remembers of a parameter that parameter's memory layout.

    The fused forms walk through both in the order of memory, and what was loaded from a file is not in the
    order of a channels_last parameter.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def make_average(recipe: Recipe, model: nn.Module) -> AveragedModel | None:
    """What keeps the exponential moving average of the weights and of what normalisations have seen."""
    if not recipe.ema:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)


def make_scheduler(
    recipe: Recipe, optimizer: torch.optim.Optimizer, batches_per_epoch: int
) -> LRScheduler | None:
    """What changes the learning rate after each batch; None if it is constant."""
    steps = recipe.epochs * batches_per_epoch
    if recipe.schedule == "constant" and not recipe.warmup:
        return None
    if recipe.schedule == "cosine" and not recipe.warmup:
        return CosineAnnealingLR(optimizer, T_max=steps)
    return LambdaLR(optimizer, partial(share_of_rate, recipe.schedule, round(recipe.warmup * steps), steps))


def share_of_rate(schedule: str, rising: int, steps: int, step: int) -> float:
    """The learning rate of a step, counted from 0, as a share of its peak."""
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(steps - rising, 1)
    return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[schedule]
