"""Residual nets, mixers, transformers, deep MLPs: against their papers, references and symmetries."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tiebreak.errors import ModelError
from tiebreak.models.catalog import build_model
from tiebreak.models.cost import model_cost
from tiebreak.models.deep_mlp import DeepMLP
from tiebreak.models.layers import describe_layers
from tiebreak.models.patches import AttentionBlock, Mixer, ViT
from tiebreak.models.resnet import Block, ResNet
from tiebreak.rng import global_stream

CIFAR = (3, 32, 32)


@pytest.fixture(autouse=True)
def _own_stream():
    with global_stream(0, "init"):
        yield


def test_resnet_20_has_the_parameters_of_the_paper():
    # 0.27 M (table 6); two 1x1 convolutions with their norms more than with shortcuts that have none.
    plain = 269_722
    shortcuts = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert model_cost(ResNet(depth=20), CIFAR).params == plain + shortcuts


def test_the_first_layer_of_airnet_whitens():
    """Against NumPy: patches come out uncorrelated and of one variance, each direction both ways."""
    images = torch.randn(50, 3, 20, 20).cumsum(dim=3)  # neighbours are alike
    images = (images - images.mean()) / images.std()
    model = build_model("airnet(width=8)", (3, 20, 20), 4)
    model.whiten(images)
    patches = F.unfold(images, 2).transpose(1, 2).flatten(0, 1).double().numpy()
    variances, directions = np.linalg.eigh(patches.T @ patches / len(patches))
    filters = model.first.weight.detach().double().flatten(1).numpy()
    assert np.allclose(filters[:12], -filters[12:])
    for mine, direction, variance in zip(filters, directions.T, variances, strict=False):
        expected = direction / np.sqrt(variance + 5e-4)
        assert np.allclose(mine, expected, atol=1e-4) or np.allclose(mine, -expected, atol=1e-4)
    with torch.no_grad():
        seen = F.conv2d(images, model.first.weight[:12]).transpose(0, 1).flatten(1).double()
    covariance = (seen @ seen.T / seen.shape[1]).numpy()
    assert np.allclose(covariance, np.diag(variances / (variances + 5e-4)), atol=1e-3)


def test_airnet_trains_all_but_the_whitening_and_the_scales():
    model = build_model("airnet(width=8)", CIFAR, 10)
    still = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    norms = {f"groups.{group}.{layer}.weight" for group in (1, 2, 3) for layer in (2, 5)}
    assert still == {"first.weight"} | norms
    images = torch.randn(2, 8, 9, 9)
    assert torch.equal(model.groups[1][4](images), images), "the second convolution of a group passes on"
    with pytest.raises(ModelError, match="airnet needs images of at least 16x16 pixels, got 8x20"):
        build_model("airnet", (3, 8, 20), 10)


def test_a_block_adds_to_its_input():
    block = Block(4, 4, stride=1).eval()
    nn.init.zeros_(block.norm2.weight)
    features = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(features), F.relu(features))
    assert Block(4, 8, stride=2)(features).shape == (2, 8, 4, 4)


@pytest.mark.parametrize("depth", [7, 9, 10, 2])
def test_a_depth_that_makes_no_blocks_is_refused(depth: int):
    with pytest.raises(ModelError, match=f"depth must be 8, 14, 20, 26, ... .6 n . 2., got {depth}"):
        ResNet(depth=depth)


def test_attention_is_pytorchs():
    block, rows = AttentionBlock(width=12, heads=3, dropout=0.0).eval(), torch.randn(2, 5, 12)
    asked = block.ask(block.norm1(rows)).view(2, 5, 3, 3, 4).permute(2, 0, 3, 1, 4)
    answers = F.scaled_dot_product_attention(*asked).transpose(1, 2).reshape(2, 5, 12)
    expected = rows + block.project(answers)
    expected = expected + block.alone(block.norm2(expected))
    torch.testing.assert_close(block(rows), expected)


def shuffled_patches(images: torch.Tensor, patch: int) -> torch.Tensor:
    """The same patches in another order."""
    batch, channels, height, width = images.shape
    grid = images.unfold(2, patch, patch).unfold(3, patch, patch).reshape(batch, channels, -1, patch, patch)
    grid = grid[:, :, torch.randperm(grid.shape[2])].reshape(
        batch, channels, height // patch, width // patch, patch, patch
    )
    return grid.permute(0, 1, 2, 4, 3, 5).reshape(images.shape)


def test_only_its_places_tell_a_transformer_where_a_patch_lies():
    model, images = (
        ViT(image_shape=(1, 8, 8), num_classes=3, width=16, depth=2).eval(),
        torch.randn(2, 1, 8, 8),
    )
    with torch.no_grad():
        told = model(images) - model(shuffled_patches(images, 4))
        model.places.zero_()
        untold = model(images) - model(shuffled_patches(images, 4))
    assert told.abs().max() > 1e-4
    assert untold.abs().max() < 1e-5


def test_a_mixer_knows_places_by_its_weights():
    model, images = Mixer(image_shape=(1, 8, 8), num_classes=3, width=16).eval(), torch.randn(2, 1, 8, 8)
    assert (model(images) - model(shuffled_patches(images, 4))).abs().max() > 1e-4


def test_a_deep_mlp_has_its_layers_and_answers_in_the_page():
    cost = model_cost(DeepMLP(depth=2, width=7, norm=False), CIFAR)
    assert cost.params == (3072 * 7 + 7) + (7 * 7 + 7) + (7 * 10 + 10)
    kinds = [layer.kind for layer in describe_layers(DeepMLP(depth=2, width=7).eval(), CIFAR).layers]
    assert kinds == ["flatten", "linear", "batchnorm", "relu", "linear", "batchnorm", "relu", "linear"]


@pytest.mark.parametrize("model", ["resnet", "mixer", "vit"])
def test_what_the_page_cannot_compute_is_said(model: str):
    assert describe_layers(build_model(model, CIFAR, 10), CIFAR).left_out


@pytest.mark.parametrize("model", ["resnet(width=8)", "mixer(width=8)", "vit(width=8)", "deep-mlp(width=8)"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 20), (4, 32, 32)])
def test_any_image_shape_and_number_of_classes(model: str, shape: tuple[int, int, int]):
    assert build_model(model, shape, 3)(torch.zeros(5, *shape)).shape == (5, 3)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("mixer(patch=5)", "mixer: images of 32x32 cannot be cut into patches of 5x5"),
        ("vit(width=10, heads=4)", "vit: a width of 10 cannot be divided among 4 heads"),
        ("vit(dropout=1)", "vit: dropout must be a number from 0 to below 1"),
        ("deep-mlp(depth=0)", "deep-mlp: depth must be a whole number from 1"),
        ("resnet(width=0)", "resnet: width must be a whole number from 1"),
        ("resnet(width=4)", "resnet: width must be at least 8, got 4"),
    ],
)
def test_arguments_out_of_range_are_refused(model: str, message: str):
    with pytest.raises(ModelError, match=message):
        build_model(model, CIFAR, 10)
