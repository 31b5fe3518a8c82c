"""Finding models by name: the built-in ones, a user's own, and every way to get it wrong."""

import re
from pathlib import Path

import pytest
import torch

from tiebreak.errors import ModelError
from tiebreak.models.catalog import BUILTIN, build_model, describe_factory, is_builtin
from tiebreak.rng import global_stream

SHAPE = (1, 8, 8)
OWN_MODELS = """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, image_shape, num_classes, scale=1.0):
        super().__init__()
        self.head = nn.Linear(64, num_classes)
        self.scale = scale

    def forward(self, images):
        return self.scale * self.head(images.flatten(1))

def fixed():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

def wrong_classes(image_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes + 1))

def wrong_images():
    return nn.Conv2d(3, 3, 3)

def not_a_model():
    return 42

def anything(**options):
    return Tiny(**options)

class NotMyDayError(Exception):
    pass

class Raising(Tiny):
    def forward(self, images):
        if self.scale == "assert":
            assert images.shape[-1] == 32, "needs 32x32 images"
        if self.scale == "key":
            return {}["missing"]
        if self.scale == "type":
            return len(3)
        raise NotMyDayError

def raising(image_shape, num_classes, kind):
    return Raising(image_shape, num_classes, kind)

class Changed(Tiny):
    def __init__(self, change):
        super().__init__((1, 8, 8), 3)
        self.change = change

    def forward(self, images):
        return self.change(super().forward(images))

def no_batch():
    return Changed(lambda logits: logits[0])

def dictionary():
    return Changed(lambda logits: {"logits": logits})

def numbers():
    return Changed(lambda logits: logits.long())

def nan():
    return Changed(lambda logits: logits / 0 * 0)
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own_models.py"
    path.write_text(OWN_MODELS)
    return str(path)


def build(text: str):
    with global_stream(0, "init"):
        return build_model(text, SHAPE, 3)


def test_arguments_reach_the_model():
    assert build("cnn(width=7)").features[0].out_channels == 7
    assert build("mlp(hidden_dim=5, dropout=0.5)").dropout.p == 0.5


def test_the_global_stream_decides_the_weights():
    first, again = build("mlp"), build("mlp")
    assert torch.equal(first.fc1.weight, again.fc1.weight)
    with global_stream(1, "init"):
        other = build_model("mlp", SHAPE, 3)
    assert not torch.equal(first.fc1.weight, other.fc1.weight)


def test_a_users_model_from_a_file(own):
    assert build(f"{own}:Tiny(scale=2.0)").scale == 2.0
    assert build(f"{own}:anything(scale=3.0)").scale == 3.0
    assert isinstance(build(f"{own}:fixed"), torch.nn.Sequential)
    assert not is_builtin(f"{own}:fixed") and all(map(is_builtin, BUILTIN))


def test_a_users_model_from_a_package():
    assert type(build("tiebreak.models.mlp:MLPBaseline(hidden_dim=4)")).__name__ == "MLPBaseline"


def test_arguments_are_described():
    assert describe_factory("cnn") == "width=32, dropout=0.0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nn", 'Unknown model "nn". Did you mean "cnn"?'),
        ("resnext", "Your own: path/to/file.py:factory"),
        ("cnn(64)", "name each argument, e.g. cnn(width=64)"),
        ("cnn(depth=3)", "It takes: width, dropout."),
        ("cnn(num_classes=3)", "num_classes follows from the data set"),
        ("mlp(hidden_dim=-3)", "mlp: hidden_dim must be a whole number from 1, got -3."),
        ("mlp(dropout=1.0)", "mlp: dropout must be a number from 0 to below 1, got 1.0."),
        ("cnn(width=-1)", "cnn: width must be a whole number from 1, got -1."),
        ("cnn(dropout=-0.5)", "cnn: dropout must be a number from 0 to below 1, got -0.5."),
        ("local(width=0)", "local: width must be a whole number from 1, got 0."),
        ("cnn-shuffled-taps(width=0)", "cnn-shuffled-taps: width must be a whole number from 1, got 0."),
        ("missing.py:f", "missing.py: no such file"),
        ("{own}:raising(kind='assert')", "AssertionError: needs 32x32 images ("),
        ("{own}:raising(kind='key')", "KeyError: 'missing' ("),
        ("{own}:raising(kind='type')", "TypeError: "),
        ("{own}:raising(kind='own')", "NotMyDayError ("),
        ("{own}:no_batch", "expected logits of shape (batch, 3), got (3,) for a batch of 2"),
        ("{own}:dictionary", "got dict (logits); return the logits alone"),
        ("{own}:numbers", "expected logits that are real numbers, got torch.int64"),
        ("{own}:nan", "its output holds NaN before anything is trained"),
        ("no.such.module:f", "The module 'no.such.module' cannot be imported"),
        (":f", "The module '' cannot be imported"),
        ("{own}:tiny", 'has no function or class "tiny". Did you mean "Tiny"?'),
        ("{own}:wrong_classes", "expected logits of shape (batch, 3), got (2, 4)"),
        ("{own}:wrong_images", "does not take images of shape (C, H, W) = (1, 8, 8)"),
        ("{own}:not_a_model", "expected a torch.nn.Module, got int"),
        ("cnn(width=__import__('os'))", "arguments must be literals"),
        ("cnn(width=64", "is not closed at the end"),
        ("cnn(**{'width': 3})", "** is not understood"),
        ("", "Expected a name such as cnn"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, message, own):
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        build(text.format(own=own) if "{own}" in text else text)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_imported_is_named(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import no_such_package_anywhere\n")
    words = r"broken\.py cannot be imported: ModuleNotFoundError: No module named .*line 1: import no_such"
    with pytest.raises(ModelError, match=words):
        build(f"{path}:f")


def test_a_factory_that_leaves_the_program_is_an_error(tmp_path):
    path = tmp_path / "leaving.py"
    path.write_text("import sys\n\n\ndef net():\n    sys.exit(0)\n")
    with pytest.raises(ModelError, match=r"net could not be built: it leaves by sys\.exit\(0\) .*line 5"):
        build_model(f"{path}:net", (1, 8, 8), 3)
