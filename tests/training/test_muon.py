"""Muon against PyTorch's own on matrices, and what it does with filters and with the rest."""

import pytest
import torch
from torch import nn

from tiebreak.models.catalog import build_model
from tiebreak.rng import global_stream, stream
from tiebreak.training.recipe.muon import Muon, orthogonalised, split_hidden
from tiebreak.training.recipe.optimiser import make_optimizer
from tiebreak.training.recipe.recipe import Recipe


def a_matrix(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=stream(0, "trial"))


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (30, 30)])
def test_all_directions_become_about_as_long(shape: tuple[int, int]) -> None:
    matrix = a_matrix(*shape)
    lengths = torch.linalg.svdvals(orthogonalised(matrix))
    assert lengths.min() > 0.6 and lengths.max() < 1.25
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    nearest = left @ right
    assert torch.nn.functional.cosine_similarity(orthogonalised(matrix).ravel(), nearest.ravel(), 0) > 0.97


@pytest.mark.parametrize("shape", [(12, 40), (40, 12)])
def test_its_steps_are_pytorchs(shape: tuple[int, int]) -> None:
    """Up to the rounding of PyTorch's, which iterates in bfloat16."""
    ours, theirs = nn.Parameter(a_matrix(*shape)), nn.Parameter(a_matrix(*shape))
    settings = {"momentum": 0.8, "weight_decay": 0.1}
    mine, reference = (
        Muon([ours], [], 0.05, adam_lr=1e-3, **settings),
        torch.optim.Muon([theirs], 0.05, adjust_lr_fn="original", nesterov=True, **settings),
    )
    for step in range(4):
        gradient = torch.randn(shape, generator=stream(step, "trial"))
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        before = ours.detach().clone()
        mine.step()
        reference.step()
        moved = (ours - before).norm()
        assert (ours - theirs).norm() < 0.02 * (step + 1) * moved


def test_a_filter_moves_as_its_matrix() -> None:
    filters, matrix = nn.Parameter(a_matrix(6, 4, 3, 3)), nn.Parameter(a_matrix(6, 4, 3, 3).flatten(1))
    filters.data = filters.data.contiguous(memory_format=torch.channels_last)
    gradient = torch.randn((6, 4, 3, 3), generator=stream(1, "trial"))
    filters.grad, matrix.grad = gradient, gradient.flatten(1)
    for weight in (filters, matrix):
        Muon([weight], [], 0.1, adam_lr=1e-3).step()
    torch.testing.assert_close(filters.flatten(1), matrix)


def test_the_rest_moves_by_adamw() -> None:
    with global_stream(0, "init"):
        model = build_model("cnn(width=4)", (3, 8, 8), 3)
    with global_stream(0, "init"):
        twin = build_model("cnn(width=4)", (3, 8, 8), 3)
    hidden, others = split_hidden(list(model.parameters()))
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    assert [id(weight) for weight in hidden] == [id(weight) for weight in matrices[:-1]]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rest = [dict(twin.named_parameters())[names[id(parameter)]] for parameter in others]
    optimizer = make_optimizer(Recipe(optimizer="muon", adam_lr=0.01, weight_decay=0.1), model)
    reference = torch.optim.AdamW(rest, 0.01, weight_decay=0.1)
    for _ in range(3):
        for network in (model, twin):
            network.zero_grad()
            for number, parameter in enumerate(network.parameters()):
                parameter.grad = torch.randn(parameter.shape, generator=stream(number, "trial"))
        optimizer.step()
        reference.step()
    for ours, theirs in zip(others, rest, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert all(not torch.equal(weight, dict(twin.named_parameters())[names[id(weight)]]) for weight in hidden)


def test_a_linear_model_has_nothing_to_turn() -> None:
    with global_stream(0, "init"):
        model = nn.Linear(4, 3)
    (group,) = make_optimizer(Recipe(optimizer="muon"), model).param_groups
    assert group["muon"] is False and len(group["params"]) == 2
