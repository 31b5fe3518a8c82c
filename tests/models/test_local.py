"""The models between the MLP and the CNN, held against the CNN itself."""

import re

import pytest
import torch
from torch import nn

from tiebreak.errors import ModelError
from tiebreak.models.catalog import build_model
from tiebreak.models.cnn import SimpleCNN
from tiebreak.models.cost import model_cost
from tiebreak.models.local import GatherNeighbours, LocalNet, PoolAndRelu, tie_filters
from tiebreak.models.mlp import MLPBaseline
from tiebreak.models.scattered import ScatteredConv, draw_far_offsets
from tiebreak.rng import global_stream, stream


def build(kind: str, image_shape: tuple[int, int, int] = (3, 32, 32)) -> nn.Module:
    with global_stream(0, "init"):
        return build_model(kind, image_shape, 10)


@pytest.mark.parametrize("image_shape", [(3, 32, 32), (1, 28, 28), (2, 9, 15)])
def test_with_tied_filters_local_is_the_cnn(image_shape: tuple[int, int, int]) -> None:
    cnn, local = build("cnn(width=8)", image_shape), build("local(width=8)", image_shape)
    assert isinstance(cnn, SimpleCNN) and isinstance(local, LocalNet)
    tie_filters(local, cnn)
    images = torch.randn(5, *image_shape, generator=stream(0, "images"))
    assert torch.allclose(local(images), cnn(images), atol=1e-5, rtol=0)
    for model in (local, cnn):
        model(images).square().sum().backward()
    convolution = cnn.features[0]
    assert isinstance(convolution, nn.Conv2d) and convolution.weight.grad is not None
    shared = convolution.weight.grad.permute(2, 3, 1, 0).flatten(0, 2)
    assert local.local1.weight.grad is not None
    # The gradient of a shared filter is the sum of those of its copies.
    assert torch.allclose(local.local1.weight.grad.sum(dim=0), shared, atol=1e-3 * float(shared.abs().max()))


def test_local_has_filters_at_every_position_and_the_cnns_arithmetic() -> None:
    cnn, local = (model_cost(build(kind), (3, 32, 32)) for kind in ("cnn", "local"))
    assert local.flops == cnn.flops
    assert local.params == 1024 * (27 + 1) * 32 + 256 * (288 + 1) * 64 + 64 * 64 * 10 + 10


def test_gradients_of_the_written_steps_are_right() -> None:
    features = torch.randn(
        5, 7, 2, 3, dtype=torch.double, generator=stream(0, "features"), requires_grad=True
    )
    with torch.random.fork_rng():  # gradcheck draws from the global generator
        assert torch.autograd.gradcheck(GatherNeighbours.apply, (features,))
        assert torch.autograd.gradcheck(lambda values: PoolAndRelu.apply(values)[0], (features,))


def test_local_computes_in_bf16_nearly_what_it_computes_in_fp32() -> None:
    local = build("local(width=8)")
    images = torch.randn(4, 3, 32, 32, generator=stream(0, "images"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = local(images)
    assert torch.allclose(half.float(), local(images), atol=0.05)


def test_small_images_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match=re.escape("local needs images of at least 4x4 pixels, got 3x8")):
        build("local", (1, 3, 8))
    with pytest.raises(ModelError, match=re.escape("cnn-shuffled-taps needs images of at least 8x8 pixels")):
        build("cnn-shuffled-taps", (1, 7, 8))


def test_scattered_taps_cost_what_the_cnn_costs_and_lie_far_away() -> None:
    cnn, scattered = (model_cost(build(kind), (3, 32, 32)) for kind in ("cnn", "cnn-shuffled-taps"))
    assert (scattered.params, scattered.flops) == (cnn.params, cnn.flops)
    with global_stream(0, "init"):
        offsets = draw_far_offsets(16, 16)
    assert len(offsets.unique(dim=0)) == 9
    around = torch.minimum(offsets, 16 - offsets)
    assert (around.max(dim=1).values >= 4).all()


def test_scattered_taps_at_their_places_are_a_convolution() -> None:
    with global_stream(0, "init"):
        layer = ScatteredConv(2, 4, 8, 8)
    # Put the taps where a 3x3 convolution has them: then only the border, which wraps around, remains.
    layer.offsets.copy_(torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 2)))
    weight = layer.mix.weight.view(4, 9, 2).permute(0, 2, 1).reshape(4, 2, 3, 3)
    images = torch.randn(3, 2, 8, 8, generator=stream(0, "images"))
    padded = nn.functional.pad(images, (1, 1, 1, 1), mode="circular")
    expected = nn.functional.conv2d(padded, weight, layer.mix.bias)
    assert torch.allclose(layer(images), expected, atol=1e-5)


@pytest.mark.parametrize("by", ["params", "flops"])
def test_an_mlp_matched_to_the_cnn_comes_as_near_as_one_unit(by: str) -> None:
    matched = build(f"mlp(match='cnn(width=16)', by='{by}')")
    assert isinstance(matched, MLPBaseline)
    target = getattr(model_cost(build("cnn(width=16)"), (3, 32, 32)), by)
    units = matched.fc1.out_features

    def distance(hidden: int) -> int:
        return abs(getattr(model_cost(build(f"mlp(hidden_dim={hidden})"), (3, 32, 32)), by) - target)

    assert distance(units) <= min(distance(units - 1), distance(units + 1))


def test_matching_leaves_the_weights_draws_alone() -> None:
    matched = build("mlp(match='cnn', by='params')")
    plain = build(f"mlp(hidden_dim={matched.fc1.out_features})")
    assert torch.equal(matched.fc1.weight, plain.fc1.weight)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mlp(match='cnn', by='weight')", "by must be 'params' or 'flops', got 'weight'"),
        ("mlp(match='cnn', hidden_dim=7)", "takes match or hidden_dim, got both ('cnn' and 7)"),
        ("mlp(match='cmm')", 'Unknown model "cmm"'),
    ],
)
def test_a_match_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(ModelError, match=re.escape(words)):
        build(text)
