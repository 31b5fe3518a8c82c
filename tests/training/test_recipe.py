"""A recipe's optimisers and schedule are PyTorch's, with the recipe's numbers."""

import pytest
import torch
from torch import nn

from tiebreak.rng import global_stream
from tiebreak.training.recipe.optimiser import make_optimizer, make_scheduler
from tiebreak.training.recipe.recipe import Recipe


@pytest.fixture
def model():
    with global_stream(0, "init"):
        return nn.Linear(4, 2)


def test_the_defaults_are_the_case_studys(model):
    recipe = Recipe()
    assert (recipe.optimizer, recipe.lr, recipe.batch_size, recipe.epochs) == ("adam", 1e-3, 128, 5)
    assert isinstance(make_optimizer(recipe, model), torch.optim.Adam)
    assert make_scheduler(recipe, make_optimizer(recipe, model), 10) is None


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("adam", lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.01, fused=False, foreach=False)),
        ("adamw", lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.01, fused=False, foreach=False)),
        (
            "sgd",
            lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01, fused=False, foreach=False),
        ),
    ],
)
def test_fused_optimisers_take_the_steps_of_plain_ones(name, reference, model):
    with global_stream(0, "init"):
        twin = nn.Linear(4, 2)
    fused, plain = (
        make_optimizer(Recipe(optimizer=name, lr=0.1, weight_decay=0.01), model),
        reference(twin.parameters()),
    )
    inputs = torch.rand(8, 4, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        for network, optimizer in ((model, fused), (twin, plain)):
            optimizer.zero_grad()
            network(inputs).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(model.weight, twin.weight, rtol=1e-5, atol=1e-7)


def test_cosine_goes_from_lr_to_zero(model):
    recipe = Recipe(schedule="cosine", epochs=2, lr=0.1)
    optimizer = make_optimizer(recipe, model)
    scheduler = make_scheduler(recipe, optimizer, batches_per_epoch=5)
    rates = []
    for _ in range(10):
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    assert rates[0] == 0.1
    assert rates == sorted(rates, reverse=True)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)
