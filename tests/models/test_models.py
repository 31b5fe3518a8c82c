"""The built-in models: the numbers of the case study, and any image shape."""

import pytest
import torch

from tiebreak.errors import ModelError
from tiebreak.models.cnn import SimpleCNN
from tiebreak.models.cost import model_cost
from tiebreak.models.linear import LinearClassifier
from tiebreak.models.mlp import MLPBaseline
from tiebreak.rng import global_stream

CIFAR = (3, 32, 32)


@pytest.fixture(autouse=True)
def _own_stream():
    with global_stream(0, "init"):
        yield


def test_parameters_and_flops_are_the_case_studys():
    mlp, cnn = model_cost(MLPBaseline(), CIFAR), model_cost(SimpleCNN(), CIFAR)
    assert mlp.params == 3072 * 512 + 512 + 512 * 10 + 10 == 1_578_506
    assert cnn.params == 60_362
    # By hand: two operations a multiply-add.
    assert mlp.flops == 2 * (3072 * 512 + 512 * 10)
    assert cnn.flops == 2 * (32 * 32 * 32 * 27 + 16 * 16 * 64 * 32 * 9 + 4096 * 10)
    assert mlp.bytes == 4 * mlp.params


def test_the_linear_model_is_one_template_a_class():
    model = LinearClassifier(CIFAR, 10)
    images = torch.rand(2, *CIFAR, generator=torch.Generator().manual_seed(0))
    template = model.fc.weight[7].view(CIFAR)
    expected = (images[1] * template).sum() + model.fc.bias[7]
    torch.testing.assert_close(model(images)[1, 7], expected)


@pytest.mark.parametrize("model", [MLPBaseline, SimpleCNN, LinearClassifier])
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 7), (4, 28, 28), (3, 33, 64)])
def test_any_image_shape_and_number_of_classes(model, shape):
    logits = model(image_shape=shape, num_classes=3)(torch.zeros(5, *shape))
    assert logits.shape == (5, 3)


def test_the_cnn_sees_a_neighbourhood_only():
    features = SimpleCNN().features
    images = torch.zeros(2, *CIFAR)
    images[1, :, 0, 0] = 1.0
    changed = (features(images)[0] != features(images)[1]).any(dim=0).nonzero()
    assert changed.max() <= 1  # the corner pixel reaches 3x3 + 3x3 pooled positions, no more


def test_a_too_small_image_is_refused_with_advice():
    with pytest.raises(ModelError, match="at least 4x4 pixels, got 3x8"):
        SimpleCNN((1, 3, 8), 2)
