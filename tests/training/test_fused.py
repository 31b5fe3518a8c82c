"""Layers that are computed as one keep their function and their names, and only those are that can be."""

import copy

import pytest
import torch
from torch import nn

from tiebreak.data.batches import Batches
from tiebreak.kernels import has_convolution
from tiebreak.models.catalog import build_model
from tiebreak.models.cnn import SimpleCNN
from tiebreak.rng import global_stream
from tiebreak.training.placement.fused import (
    Conv3x3,
    ConvReluPool,
    MaxPoolRelu,
    by_winograd,
    can_go_by_winograd,
    pool_before_relu,
)
from tiebreak.training.placement.precision import (
    choose_placement,
    computing,
    prepare_batches,
    prepare_model,
)


def relu_and_pool(pool: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), pool)


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d((2, 3), stride=(1, 2)),
    ],
    ids=str,
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooling_first_changes_no_bit_of_values_and_gradients(pool, layout):
    plain = relu_and_pool(pool)
    swapped = pool_before_relu(copy.deepcopy(plain))
    assert [type(layer) for layer in swapped] != [type(layer) for layer in plain]
    generator = torch.Generator().manual_seed(3)
    values = torch.randint(-2, 3, (4, 5, 9, 7), generator=generator).float()  # many ties, many zeros
    values[0, 0, 0, 0] = float("nan")
    results = []
    for layers in (plain, swapped):
        images = values.to(memory_format=layout).clone().requires_grad_()
        pooled = layers(images)
        pooled.backward(torch.arange(pooled.numel()).view_as(pooled).float())
        results.append((pooled.detach().nan_to_num(nan=9.0), images.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_a_pool_that_gives_indices_stays_where_it_is():
    layers = relu_and_pool(nn.MaxPool2d(2, return_indices=True))
    assert [type(layer) for layer in pool_before_relu(layers)] == [nn.ReLU, nn.MaxPool2d]


def test_convolution_relu_and_pool_become_one_layer_with_the_convolutions_parameters():
    with global_stream(0, "test"):
        model = SimpleCNN((3, 12, 10), 4, width=8)
    fused = by_winograd(copy.deepcopy(model))
    kinds = [type(layer) for layer in fused.features]
    assert kinds == [ConvReluPool, nn.Identity, nn.Identity] * 2
    assert [name for name, _ in fused.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert not can_go_by_winograd(fused)
    images = torch.randn(5, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    for each in (model, fused):
        each(images).square().sum().backward()
    torch.testing.assert_close(fused(images), model(images))
    for one, other in zip(fused.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(4, 4, 5, padding=1),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, padding=1, stride=2),
        nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, padding="same"),
    ],
    ids=str,
)
def test_other_convolutions_stay_as_they_are(convolution):
    layers = nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(2))
    assert not can_go_by_winograd(layers)
    assert [type(layer) for layer in by_winograd(layers)] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d]


def test_a_layer_that_something_watches_stays_as_it_is():
    with global_stream(0, "test"):
        layers = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    assert can_go_by_winograd(layers)
    for layer in layers:
        handle = layer.register_forward_hook(lambda layer, inputs, output: None)
        assert not can_go_by_winograd(layers)
        handle.remove()
    assert can_go_by_winograd(layers)
    nn.utils.parametrizations.weight_norm(layers[0])
    assert not can_go_by_winograd(layers)


def test_the_pools_that_are_left_go_before_their_relu():
    with global_stream(0, "test"):
        first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
    layers = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.MaxPool2d(2))
    kinds = [type(layer) for layer in pool_before_relu(by_winograd(layers))]
    assert kinds == [ConvReluPool, nn.Identity, nn.Identity, nn.Conv2d, nn.Identity, MaxPoolRelu]


class Block(nn.Module):
    """What small nets of today are made of: convolutions, batch normalisation, an activation, a sum."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), activation)
        self.one = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.two = nn.Conv2d(32, 48, 3, padding=1)
        self.norm, self.activation, self.pool = nn.BatchNorm2d(32), activation, nn.MaxPool2d(2)
        self.head = nn.Linear(48, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.stem(images)
        features = features + self.activation(self.norm(self.one(features)))
        return self.head(self.pool(self.activation(self.two(features))).mean((2, 3)))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), nn.SiLU()], ids=str)
@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_a_block_of_a_modern_net_trains_by_winograd_as_it_does_by_pytorch(activation, kind):
    dtype = torch.float32 if kind == "fp32" else torch.bfloat16
    if not has_convolution(dtype):
        pytest.skip(f"no convolution in {kind} here")
    with global_stream(0, "test"):
        model = Block(activation)
    cpu = torch.device("cpu")
    assert choose_placement(model, (3, 10, 9), cpu, kind).winograd
    faster = by_winograd(copy.deepcopy(model))
    kinds = [type(layer) for layer in (faster.stem[0], faster.one, faster.two)]
    assert kinds == [nn.Conv2d, Conv3x3, Conv3x3]  # three channels are too few
    assert list(faster.state_dict()) == list(model.state_dict())
    images = torch.randn(16, 3, 10, 9, generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last)
    gradients = []
    for each in (copy.deepcopy(model).double(), model, faster):
        narrow = kind == "bf16" and next(each.parameters()).dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            logits = each(images.to(next(each.parameters()).dtype))
        logits.float().square().sum().backward()
        gradients.append([parameter.grad.double() for parameter in each.parameters()])
    exact, theirs, ours = (torch.cat([gradient.flatten() for gradient in each]) for each in gradients)
    usual = (theirs - exact).norm()
    assert 0 < usual < (0.05 if kind == "bf16" else 1e-5) * exact.norm()
    assert (ours - exact).norm() <= 3 * usual


def test_a_convolution_that_something_watches_stays_as_it_is():
    with global_stream(0, "test"):
        layers = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.GELU())
    assert can_go_by_winograd(layers)
    handle = layers[0].register_forward_pre_hook(lambda layer, inputs: None)
    assert not can_go_by_winograd(layers)
    handle.remove()
    assert [type(layer) for layer in by_winograd(layers)] == [Conv3x3, nn.GELU]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["airnet(width=16)", "resnet(depth=8, width=8)"])
def test_a_prepared_model_takes_images_of_another_size(name, precision):
    """As with `small_size`: what is computed as one for the whole images is right for smaller ones."""
    shape = (3, 32, 32)
    with global_stream(0, "test"):
        model = build_model(name, shape, 10)
    placement = choose_placement(model, shape, torch.device("cpu"), precision)
    prepared = prepare_model(copy.deepcopy(model), placement)
    pixels = torch.randint(0, 256, (6, 3, 24, 24), generator=torch.Generator().manual_seed(0))
    plain = Batches(images=pixels.to(torch.uint8), labels=torch.arange(6), mean=(0.5,) * 3, std=(0.25,) * 3)
    ((images, _),) = plain
    ((batch, _),) = prepare_batches(plain, placement)
    with computing(placement):
        logits = prepared.train()(batch).float()
        logits.square().sum().backward()
    expected = model.train()(images)
    expected.square().sum().backward()
    near = {"rtol": 1e-3, "atol": 1e-3} if precision == "fp32" else {"rtol": 0.2, "atol": 0.1}
    torch.testing.assert_close(logits, expected, **near)
    gradients = dict(prepared.named_parameters())
    last = [name for name, weight in model.named_parameters() if weight.grad is not None][-1]
    torch.testing.assert_close(
        gradients[last].grad.float(), dict(model.named_parameters())[last].grad, **near
    )
