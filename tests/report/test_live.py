"""Weights on their way into the page."""

import base64
import zlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tiebreak.actions.judge import Verdicts
from tiebreak.models.cnn import SimpleCNN
from tiebreak.models.layers import describe_layers
from tiebreak.models.linear import LinearClassifier
from tiebreak.report.page.live import first_layer_images, fold_batchnorm, pack, pack_models
from tiebreak.rng import global_stream
from tiebreak.study.inside import read_layers


def test_packed_numbers_come_back_as_halves() -> None:
    numbers = np.random.default_rng(0).normal(size=1001).astype(np.float32)
    planes = np.frombuffer(zlib.decompress(base64.b64decode(pack(numbers))), dtype=np.uint8).reshape(2, -1)
    halves = np.ascontiguousarray(planes.T).view("<f2").ravel()
    np.testing.assert_array_equal(halves, numbers.astype(np.float16))


def test_batch_norm_is_folded_into_the_layer_before_it() -> None:
    with global_stream(0, "test"):
        model = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3)).eval()
        norm = model[1]
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(tensor)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        images = torch.randn(2, 2, 6, 6)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    ((_, folded),) = fold_batchnorm(describe_layers(model, (2, 6, 6)).layers, weights)
    got = F.conv2d(images, torch.from_numpy(folded["weight"]), torch.from_numpy(folded["bias"]))
    torch.testing.assert_close(got, model(images))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(144, 2)), "1, a GELU"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.Flatten()), "0 gives its padding as a word"),
        (nn.Sequential(nn.Conv2d(3, 3, 3, groups=3)), "cannot compute: 0, a Conv2d"),
        (nn.Sequential(nn.MaxPool2d(3, ceil_mode=True)), "cannot compute: 0, a MaxPool2d"),
    ],
)
def test_what_cannot_be_computed_is_named(model: nn.Module, reason: str) -> None:
    chain = describe_layers(model, (3, 8, 8))
    assert chain.layers == ()
    assert chain.left_out is not None
    assert reason in chain.left_out


def test_a_function_after_the_last_layer_is_noticed() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(12, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * self.fc(x.flatten(1))

    with global_stream(0, "test"):
        left_out = describe_layers(Scaled(), (3, 2, 2)).left_out
    assert left_out == "something other than a layer computes the input of fc"


def test_describing_leaves_the_model_as_it_was() -> None:
    with global_stream(0, "test"):
        model = SimpleCNN((3, 8, 8), 2, width=2, dropout=0.5).train()
    chain = describe_layers(model, (3, 8, 8))
    assert [layer.kind for layer in chain.layers] == [
        *["conv", "relu", "maxpool"] * 2,
        "flatten",
        "linear",
    ]
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_large_models_and_much_weight_are_left_out(study: Verdicts, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiebreak.report.page.live as module

    chains = read_layers(study.folder)
    assert [list(model.seeds) for model in pack_models(study.stored, chains, 10_000_000)] == [[0, 1], [0, 1]]
    assert [list(model.seeds) for model in pack_models(study.stored, chains, 1)] == [[0], [0]]
    monkeypatch.setattr(module, "MAX_PARAMS", 5_000)
    mlp, cnn = pack_models(study.stored, chains, 10_000_000)
    assert (
        mlp.left_out
        == "mlp cannot answer here: it has 0.0 million parameters, and the page takes models up to 4 million."
    )
    assert cnn.left_out is None


def test_first_layers_as_images() -> None:
    with global_stream(0, "test"):
        linear, cnn = LinearClassifier((3, 5, 4), 7), SimpleCNN((3, 8, 8), 2, width=6)
    shown = [
        first_layer_images(
            {name: tensor.numpy() for name, tensor in model.state_dict().items()},
            describe_layers(model, shape),
            shape,
        )
        for model, shape in ((linear, (3, 5, 4)), (cnn, (3, 8, 8)))
    ]
    assert [images.shape for images in shown] == [(7, 3, 5, 4), (6, 3, 3, 3)]
    largest = np.abs(shown[0].astype(int) - 128).reshape(7, -1).max(axis=1)
    assert (largest >= 127).all(), "each is scaled to its own largest weight"
