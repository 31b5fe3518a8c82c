"""A recipe's optimisers and schedule are PyTorch's, with the recipe's numbers."""

import warnings

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from tiebreak.rng import global_stream
from tiebreak.training.recipe.optimiser import make_optimizer, make_scheduler
from tiebreak.training.recipe.recipe import Recipe, smaller


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


def rates(recipe: Recipe, model: nn.Module, steps_an_epoch: int) -> list[float]:
    optimizer = make_optimizer(recipe, model)
    scheduler = make_scheduler(recipe, optimizer, steps_an_epoch)
    assert scheduler is not None
    found = []
    for _ in range(recipe.epochs * steps_an_epoch):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_warm_up_then_cosine_is_pytorchs(model):
    found = rates(Recipe(schedule="cosine", warmup=0.25, epochs=4, lr=0.1), model, 5)
    plain = torch.optim.SGD(model.parameters(), 0.1)
    rising = LinearLR(plain, start_factor=0.2, total_iters=4)
    expected = SequentialLR(plain, [rising, CosineAnnealingLR(plain, T_max=15)], milestones=[5])
    for rate in found:
        assert rate == pytest.approx(plain.param_groups[0]["lr"], abs=1e-12)
        plain.step()
        with warnings.catch_warnings():  # of an argument that SequentialLR itself passes on
            warnings.simplefilter("ignore")
            expected.step()


def test_linear_goes_down_to_zero_and_constant_stays(model):
    linear = rates(Recipe(schedule="linear", epochs=2, lr=0.1), model, 5)
    assert linear == pytest.approx([0.1 * (1 - step / 10) for step in range(10)])
    constant = rates(Recipe(warmup=0.5, epochs=1, lr=0.1), model, 4)
    assert constant == pytest.approx([0.05, 0.1, 0.1, 0.1])


def test_nesterov_and_undecayed_norms_are_pytorchs():
    with global_stream(0, "init"):
        ours, twin = (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)) for _ in range(2))
    twin.load_state_dict(ours.state_dict())
    recipe = Recipe(optimizer="sgd", lr=0.1, weight_decay=0.1, nesterov=True, decay_norms=False)
    weights = [twin[0].weight, twin[2].weight]
    others = [twin[0].bias, *twin[1].parameters(), twin[2].bias]
    groups = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    reference = torch.optim.SGD(groups, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    inputs = torch.rand(8, 4, generator=torch.Generator().manual_seed(0))
    for network, optimizer in ((ours, make_optimizer(recipe, ours)), (twin, reference)):
        for _ in range(4):
            optimizer.zero_grad()
            network(inputs).square().mean().backward()
            optimizer.step()
    for mine, its in zip(ours.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-7)


def test_a_gradient_is_clipped_before_the_step(model):
    before = model.weight.detach().clone()
    optimizer = make_optimizer(Recipe(optimizer="sgd", momentum=0, lr=1.0, clip=0.5), model)
    (model(torch.ones(1, 4)).sum() * 100).backward()
    optimizer.step()
    step = torch.cat([(before - model.weight).flatten(), model.bias.grad.flatten()])
    assert step.norm().item() == pytest.approx(0.5, rel=1e-4)


def test_a_piece_that_says_nothing_is_not_written():
    """So runs of recipes without it keep their identity."""
    assert Recipe().model_dump().keys().isdisjoint(Recipe.added_since)
    told = Recipe(cutout=4, pad="reflect").model_dump()
    assert told["cutout"] == 4 and told["pad"] == "reflect" and "warmup" not in told
    assert Recipe(**told) == Recipe(cutout=4, pad="reflect")


def test_nesterov_is_for_momentum():
    with pytest.raises(ValueError, match="nesterov is for sgd with momentum"):
        Recipe(nesterov=True)


def test_small_images_save_pixels_in_whole_epochs():
    recipe = Recipe(epochs=10, small_size=24, small_share=0.34)
    assert recipe.small_epochs == 3
    assert recipe.pixels_shown(32, 32) == pytest.approx(0.7 + 0.3 * 24**2 / 32**2)
    assert Recipe(epochs=10).pixels_shown(32, 32) == 1.0
    assert smaller(30, 40, 24) == (24, 32)
