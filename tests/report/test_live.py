"""Weights on their way into the page."""

import base64
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm

from forged import edit_json
from tiebreak.actions.judge import Verdicts
from tiebreak.actions.live_models import pack_models
from tiebreak.actions.page import known_images
from tiebreak.models.cnn import SimpleCNN
from tiebreak.models.layers import describe_layers
from tiebreak.models.linear import LinearClassifier
from tiebreak.models.local import LocalNet
from tiebreak.report.page.forward import probabilities
from tiebreak.report.page.live import KnownImages, LiveModel, first_layer_images, fold_batchnorm, pack
from tiebreak.report.page.sheet import read_sheet
from tiebreak.results.chain import Chain
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
    assert left_out is not None
    assert left_out.endswith("something else (a skip, an addition, a function) makes the input of fc")


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


class Standardised(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Cosine(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 10 * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


class Leaky(nn.ReLU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(x, 0.3)


def hooked() -> nn.Linear:
    layer = nn.Linear(192, 2)
    layer.register_forward_hook(lambda layer, inputs, output: 2 * output)
    return layer


def changed() -> nn.Linear:
    layer = nn.Linear(192, 2)
    layer.forward = lambda x: 2 * F.linear(x, layer.weight)  # type: ignore[method-assign]
    return layer


@pytest.mark.parametrize(
    "make",
    [
        lambda: [Standardised(3, 2, 3)],
        lambda: [nn.Flatten(), Cosine(192, 2)],
        lambda: [Leaky()],
        lambda: [nn.LeakyReLU(0.3)],
        lambda: [nn.Conv2d(3, 2, 3, dilation=2)],
        lambda: [nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect")],
        lambda: [nn.Conv2d(3, 3, 3, groups=3)],
        lambda: [nn.MaxPool2d(2, stride=1, dilation=3)],
        lambda: [nn.MaxPool2d(3, padding=1)],
        lambda: [nn.AvgPool2d(2, divisor_override=1)],
        lambda: [nn.AvgPool2d(3, padding=1, count_include_pad=False)],
        lambda: [nn.Flatten(2)],
        lambda: [nn.Flatten(0)],
        lambda: [nn.Linear(8, 4)],  # of each row of pixels
        lambda: [nn.BatchNorm2d(3, affine=False)],
        lambda: [nn.BatchNorm2d(3, track_running_stats=False)],
        lambda: [nn.Flatten(), hooked()],
        lambda: [nn.Flatten(), changed()],
        lambda: [nn.Flatten(), parametrizations.weight_norm(nn.Linear(192, 2))],
        lambda: [nn.Flatten(), parametrizations.spectral_norm(nn.Linear(192, 2))],
        lambda: [nn.Flatten(), spectral_norm(nn.Linear(192, 2))],
    ],
)
def test_what_only_looks_like_a_known_layer_is_no_chain(make: Callable[[], list[nn.Module]]) -> None:
    with global_stream(0, "test"):
        chain = describe_layers(nn.Sequential(*make()), (3, 8, 8))
    assert chain.layers == ()
    assert chain.left_out


@pytest.mark.parametrize(
    "make",
    [
        lambda: [nn.Conv2d(3, 5, (3, 5), stride=(1, 2), padding=(0, 2)), nn.ReLU(), nn.AvgPool2d((2, 1))],
        lambda: [
            nn.Conv2d(3, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
        ],
        lambda: [nn.Flatten(), nn.Linear(9 * 11 * 3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU()],
        lambda: [LocalNet((3, 9, 11), 4, width=3)],
    ],
)
def test_probabilities_are_those_of_pytorch(make: Callable[[], list[nn.Module]]) -> None:
    shape = (3, 9, 11)
    with global_stream(1, "test"):
        layers = make()
        model = layers[0] if len(layers) == 1 else nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(4))
        images = 2 * torch.randn(6, *shape)
        model.train()(images)  # running statistics of their own
    with torch.no_grad():
        expected = model.eval()(images).softmax(1).numpy()
    chain = describe_layers(model, shape)
    assert chain.left_out is None
    folded = fold_batchnorm(chain.layers, {name: array.numpy() for name, array in model.state_dict().items()})
    got = [probabilities(folded, image) for image in images.numpy()]
    np.testing.assert_allclose(got, expected, atol=1e-6)


def examples_of(results: Verdicts) -> KnownImages:
    sheet = read_sheet(
        results.folder, len(results.results.examples.truth), len(results.results.examples.class_names)
    )
    assert sheet is not None
    return known_images(*sheet, results.stored.header.data)


def pack_all(results: Verdicts, chains: dict[str, Chain], room: int = 10_000_000) -> list[LiveModel]:
    return pack_models(results.stored, chains, examples_of(results), room)


def test_large_models_and_much_weight_are_left_out(study: Verdicts, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiebreak.actions.live_models as module

    chains = read_layers(study.folder)
    assert [list(model.seeds) for model in pack_all(study, chains)] == [[0, 1], [0, 1]]
    assert [list(model.seeds) for model in pack_all(study, chains, room=1)] == [[0], [0]]
    monkeypatch.setattr(module, "MAX_PARAMS", 5_000)
    mlp, cnn = pack_all(study, chains)
    assert (
        mlp.left_out
        == "mlp cannot answer here: it has 0.0 million parameters, and the page takes models up to 4 million."
    )
    assert cnn.left_out is None


def test_a_chain_that_answers_otherwise_than_the_study_is_left_out(study: Verdicts) -> None:
    chains = read_layers(study.folder)
    mlp = chains["mlp"]
    without_relu = Chain(layers=tuple(layer for layer in mlp.layers if layer.kind != "relu"))
    wrong, right = pack_all(study, chains | {"mlp": without_relu})
    assert right.left_out is None
    assert wrong.left_out is not None
    assert re.fullmatch(
        r"mlp cannot answer here: computed from its layers alone it would answer otherwise than it did in "
        r"the study \(by up to 0\.\d+ in probability, with seed 0\)\.",
        wrong.left_out,
    )


@pytest.mark.parametrize(
    "layers",
    [
        [{"kind": "conv", "name": "fc1", "kernel": [3, 3]}],
        [{"kind": "linear", "name": "nowhere"}],
        [{"kind": "local", "name": "fc1"}],
        [{"kind": "linear", "name": "fc2"}],
        [{"kind": "maxpool", "name": "", "kernel": [1000, 1000]}],
        [{"kind": "conv", "name": "fc1", "kernel": [1024, 1024], "padding": [1024, 1024]}],
        [
            {"kind": "flatten", "name": ""},
            {"kind": "linear", "name": "fc1"},
            {"kind": "batchnorm", "name": "fc2"},
        ],
    ],
)
def test_a_chain_that_does_not_fit_its_weights_costs_nothing_but_its_panel(
    copied: Path, write_again: Callable[[Path], str], layers: list[dict[str, object]]
) -> None:
    edit_json(copied / "layers.json", lambda file: file["contenders"].update(mlp={"layers": layers}))
    assert "mlp cannot answer here: its layers in layers.json and its weights" in write_again(copied)


def test_where_seeds_differ_one_that_all_have_comes_first(study: Verdicts) -> None:
    runs = {label: dict(by_seed) for label, by_seed in study.stored.runs.items()}
    mlp, cnn = runs
    del runs[mlp][0]
    chains, shown = read_layers(study.folder), examples_of(study)
    models = pack_models(replace(study.stored, runs=runs), chains, shown, 10_000_000)
    assert [list(model.seeds) for model in models] == [[1], [1]]
    del runs[cnn][1]
    models = pack_models(replace(study.stored, runs=runs), chains, shown, 10_000_000)
    assert [list(model.seeds) for model in models] == [[1], [0]]


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
