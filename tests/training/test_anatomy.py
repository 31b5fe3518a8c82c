"""One training step under the microscope, against the same step done by hand."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tiebreak.models.cnn import SimpleCNN
from tiebreak.rng import global_stream
from tiebreak.training.anatomy import examine_step


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, 3, 8, 8, generator=generator), torch.arange(16) % 4


@pytest.fixture
def model():
    with global_stream(0, "init"):
        return SimpleCNN((3, 8, 8), 4, width=8)


def test_losses_gradients_and_steps_are_those_of_a_step_by_hand(model, batch):
    images, labels = batch
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    anatomy = examine_step(model, images, labels, nn.CrossEntropyLoss(), optimizer)

    loss = F.cross_entropy(twin(images), labels)
    loss.backward()
    assert anatomy.loss_before == pytest.approx(loss.item())
    by_name = {step.name: step for step in anatomy.parameters}
    for name, parameter in twin.named_parameters():
        step = by_name[name]
        assert step.shape == tuple(parameter.shape)
        assert step.grad_mean_abs == pytest.approx(parameter.grad.abs().mean().item(), rel=1e-4)
        assert step.grad_norm == pytest.approx(parameter.grad.norm().item(), rel=1e-4)
        assert step.step_to_weight == pytest.approx(0.1 * step.grad_norm / parameter.norm().item(), rel=1e-3)
    assert anatomy.loss_after < anatomy.loss_before
    assert anatomy.warnings == ()


def test_layers_come_in_order_with_shapes_and_zeros(model, batch):
    images, labels = batch
    anatomy = examine_step(
        model, images, labels, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), 0.1)
    )
    kinds = [layer.kind for layer in anatomy.layers]
    assert kinds == [
        "Conv2d",
        "ReLU",
        "MaxPool2d",
        "Conv2d",
        "ReLU",
        "MaxPool2d",
        "Flatten",
        "Dropout",
        "Linear",
    ]
    assert anatomy.layers[0].shape == (16, 8, 8, 8)
    assert 0.1 < anatomy.layers[1].zeros < 0.9
    assert anatomy.layers[0].zeros < 0.01


class Faulty(nn.Module):
    """A parameter without a part in the loss, and a division by zero on request."""

    def __init__(self, infinite: bool):
        super().__init__()
        self.used = nn.Linear(192, 4)
        self.unused = nn.Linear(2, 2)
        self.infinite = infinite

    def forward(self, images):
        logits = self.used(images.flatten(1))
        return logits / 0.0 if self.infinite else logits


@pytest.mark.parametrize(
    ("infinite", "warning"),
    [(False, "unused.weight has no gradient"), (True, "the gradient of used.weight holds NaN or infinity")],
)
def test_what_is_wrong_is_warned_of(infinite, warning, batch):
    with global_stream(0, "init"):
        model = Faulty(infinite)
    anatomy = examine_step(model, *batch, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), 0.1))
    assert any(text.startswith(warning) for text in anatomy.warnings)
