"""Linear layers whose gradients stay in bfloat16, and Adam that takes them, train as PyTorch's own do."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from tiebreak import kernels
from tiebreak.rng import global_stream
from tiebreak.training.loop import train_step
from tiebreak.training.placement.fused import Bf16Linear
from tiebreak.training.placement.micro_batches import train_step_in_pieces
from tiebreak.training.placement.precision import choose_placement, prepare_model, unprepared
from tiebreak.training.recipe import optimiser
from tiebreak.training.recipe.optimiser import make_criterion, make_optimizer
from tiebreak.training.recipe.recipe import Recipe

CPU = torch.device("cpu")
SHAPE = (3, 8, 8)

needs_adam = pytest.mark.skipif(not kernels.has_adam(), reason="needs a compiled Adam")


def make_model() -> nn.Module:
    with global_stream(0, "test"):
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 48), nn.ReLU(), nn.Linear(48, 10))


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(16, *SHAPE, generator=generator).bfloat16(),
            torch.randint(0, 10, (16,), generator=generator),
        )
        for _ in range(count)
    ]


def train(recipe: Recipe, steps: int, step=train_step, **changes) -> dict[str, torch.Tensor]:
    model = make_model()
    placement = replace(choose_placement(model, SHAPE, CPU, "bf16"), **changes)
    prepared = prepare_model(model, placement)
    optimizer = make_optimizer(recipe, prepared)
    for images, labels in batches(steps):
        step(prepared, images, labels, make_criterion(recipe), optimizer)
    return copy.deepcopy(prepared.state_dict())


@needs_adam
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(weight_decay=0.01),
        Recipe(optimizer="adamw", weight_decay=0.1),
        Recipe(optimizer="sgd", lr=0.1),
    ],
    ids=lambda recipe: f"{recipe.optimizer}-{recipe.weight_decay}",
)
def test_weights_are_those_of_autocast_with_pytorchs_optimiser(recipe, monkeypatch):
    ours = train(recipe, 10)
    monkeypatch.setattr(optimiser, "has_adam", lambda: False)
    theirs = train(recipe, 10, bf16_weights=False)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@needs_adam
def test_pieces_of_a_batch_add_their_gradients_up_in_float32():
    def in_pieces(*arguments):
        return train_step_in_pieces(*arguments, pieces=4)

    gradients = []
    for step in (train_step, in_pieces):
        model = prepare_model(make_model(), choose_placement(make_model(), SHAPE, CPU, "bf16"))
        optimizer = make_optimizer(Recipe(), model)
        step(model, *batches(1)[0], make_criterion(Recipe()), optimizer)
        gradients.append([parameter.grad for parameter in model.parameters()])
    for whole, added in zip(*gradients, strict=True):
        assert added.dtype == torch.float32
        assert (whole.float() - added).norm() <= 0.02 * whole.float().norm()


@needs_adam
def test_gradients_stay_in_bfloat16_and_weights_in_float32():
    model = prepare_model(make_model(), choose_placement(make_model(), SHAPE, CPU, "bf16"))
    optimizer = make_optimizer(Recipe(), model)
    train_step(model, *batches(1)[0], make_criterion(Recipe()), optimizer)
    kinds = {(each.dim(), each.dtype, each.grad.dtype) for each in model.parameters()}
    assert kinds == {(2, torch.float32, torch.bfloat16), (1, torch.float32, torch.float32)}


class Renormed(nn.Module):
    """Changes its weight while it computes, past PyTorch's count of changes."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.first, self.head, self.in_place = nn.Linear(192, 48), nn.Linear(48, 10), in_place

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.in_place:
            self.first.weight.data.renorm_(2, 0, 0.3)
        else:
            self.first.weight.data = torch.renorm(self.first.weight.data, 2, 0, 0.3)
        return self.head(self.first(images.flatten(1)).relu())


@needs_adam
@pytest.mark.parametrize("in_place", [True, False])
def test_a_model_that_changes_its_weights_behind_pytorchs_back_computes_with_the_new_ones(in_place):
    states = []
    for prepare in (True, False):
        with global_stream(0, "test"):
            model = Renormed(in_place)
        if prepare:
            placement = choose_placement(copy.deepcopy(model), SHAPE, CPU, "bf16")
            assert placement.bf16_weights
            model = unprepared(prepare_model(model, placement))
            optimizer = make_optimizer(Recipe(lr=0.1), model)
        else:
            optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
        for images, labels in batches(5):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(images)
            nn.functional.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
        states.append(model.state_dict())
    ours, theirs = states
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_names_stay_and_other_subclasses_stay_as_they_are():
    class Own(nn.Linear):
        pass

    with global_stream(0, "test"):
        model = nn.Sequential(nn.Flatten(), Own(192, 48), nn.Linear(48, 10))
    placement = choose_placement(model, SHAPE, CPU, "bf16")
    assert placement.bf16_weights
    prepared = unprepared(prepare_model(model, placement))
    assert [type(layer) for layer in prepared] == [nn.Flatten, Own, Bf16Linear]
    assert list(prepared.state_dict()) == list(model.state_dict())


class Recurring(nn.Module):
    """Uses a layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.head = nn.Linear(192, 48), nn.Linear(48, 48), nn.Linear(48, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.first(images.flatten(1)).relu()
        return self.head(self.again(self.again(hidden).relu()).relu())


class Clamped(nn.Module):
    """Wants its weight in float32, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(192, 48), nn.Linear(48, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            size = self.head.weight.square().mean()
        return self.head(self.first(images.flatten(1)).relu()) * (1 + size)


class Tied(nn.Module):
    """Has one weight in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.other = nn.Linear(192, 10), nn.Linear(10, 10), nn.Linear(10, 10)
        self.other.weight = self.one.weight

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.other(self.one(self.first(images.flatten(1))))


@needs_adam
@pytest.mark.parametrize("kind", [Recurring, Clamped, Tied])
def test_gradients_that_are_added_up_are_not_kept_in_bfloat16(kind):
    with global_stream(0, "test"):
        model = kind()
    assert not choose_placement(model, SHAPE, CPU, "bf16").bf16_weights
