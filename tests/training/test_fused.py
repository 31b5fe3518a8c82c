"""Layers that are computed as one keep their function and their names, and only those are that can be."""

import copy

import pytest
import torch
from torch import nn

from tiebreak.models.cnn import SimpleCNN
from tiebreak.rng import global_stream
from tiebreak.training.fused import (
    ConvReluPool,
    MaxPoolRelu,
    conv_relu_pool_as_one,
    has_conv_relu_pool,
    pool_before_relu,
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
    fused = conv_relu_pool_as_one(copy.deepcopy(model))
    kinds = [type(layer) for layer in fused.features]
    assert kinds == [ConvReluPool, nn.Identity, nn.Identity] * 2
    assert [name for name, _ in fused.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert not has_conv_relu_pool(fused)
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
    assert not has_conv_relu_pool(layers)
    assert [type(layer) for layer in conv_relu_pool_as_one(layers)] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d]


def test_a_layer_that_something_watches_stays_as_it_is():
    with global_stream(0, "test"):
        layers = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    assert has_conv_relu_pool(layers)
    for layer in layers:
        handle = layer.register_forward_hook(lambda layer, inputs, output: None)
        assert not has_conv_relu_pool(layers)
        handle.remove()
    assert has_conv_relu_pool(layers)
    nn.utils.parametrizations.weight_norm(layers[0])
    assert not has_conv_relu_pool(layers)


def test_the_pools_that_are_left_go_before_their_relu():
    with global_stream(0, "test"):
        first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
    layers = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.MaxPool2d(2))
    kinds = [type(layer) for layer in pool_before_relu(conv_relu_pool_as_one(layers))]
    assert kinds == [ConvReluPool, nn.Identity, nn.Identity, nn.Conv2d, nn.Identity, MaxPoolRelu]
