"""The two architectures for the tools that take PyTorch modules; tiebreak is not in their environments."""

import torch
from torch import nn


def make_model(name: str) -> nn.Module:
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 512), nn.ReLU(), nn.Linear(512, 10))
    features = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    )
    return nn.Sequential(features, nn.Flatten(), nn.Linear(64 * 8 * 8, 10))


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def start(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
