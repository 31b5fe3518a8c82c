"""What a model costs, counted rather than timed."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tiebreak.results.run import Cost


def model_cost(model: nn.Module, image_shape: tuple[int, int, int]) -> Cost:
    """Count a model's parameters, bytes, and FLOPs for an image of (C, H, W).

    FLOPs are those of matrix products and convolutions, as PyTorch's `FlopCounterMode` counts them;
    elementwise work is left out, as is the field's habit.
    """
    was_training = model.training
    model.eval()
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, *image_shape, device=device))  # one alone is more than some models take
    model.train(was_training)
    tensors = [*model.parameters(), *model.buffers()]
    return Cost(
        params=sum(parameter.numel() for parameter in model.parameters()),
        flops=int(counter.get_total_flops()) // 2,
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
    )
