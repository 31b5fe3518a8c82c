"""Number format and layout: the same function, the same names, and nothing left behind."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.errors import ModelError
from tiebreak.kernels import has_convolution, kernel_variant
from tiebreak.kernels.library import known_variants
from tiebreak.models.cnn import SimpleCNN
from tiebreak.models.mlp import MLPBaseline
from tiebreak.rng import global_stream
from tiebreak.training.loop import train_steps
from tiebreak.training.placement.placement import Placement
from tiebreak.training.placement.precision import (
    choose_placement,
    choose_precision,
    computing,
    cpu_flags,
    cpu_has_bf16,
    onednn_is_true_fp32,
    prepare_batches,
    prepare_model,
)
from tiebreak.training.recipe.optimiser import make_criterion, make_optimizer
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import RunResult, train_run
from tiebreak.training.spec import RunSpec

CPU = torch.device("cpu")
SHAPE = (3, 12, 10)
PRECISIONS = ["fp32", "bf16"]


@pytest.fixture(scope="module")
def data() -> ImageDataset:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (200, *SHAPE), dtype=torch.uint8, generator=generator)
    labels = torch.arange(200) % 4
    return make_dataset("random", images[:160], labels[:160], images[160:], labels[160:], tuple("abcd"))


def make(kind: type[nn.Module], **arguments) -> nn.Module:
    with global_stream(0, "test"):
        return kind(image_shape=SHAPE, num_classes=4, **arguments)


def run(data: ImageDataset, model: str, precision: str, **recipe) -> RunResult:
    spec = RunSpec(model=model, recipe=Recipe(epochs=2, batch_size=32, **recipe), seed=1, val_size=40)
    *_, result = train_run(spec, data, CPU, precision=precision)
    return result


def test_flags_are_those_that_all_processors_have():
    text = "processor: 0\nflags\t\t: fpu avx512_bf16 amx_bf16\n\nprocessor: 1\nflags : fpu avx512_bf16\n"
    assert cpu_flags(text) == {"fpu", "avx512_bf16"}
    assert cpu_flags("Features : fp asimd bf16\n") == set()


def test_auto_is_bf16_exactly_where_the_cpu_has_it():
    assert choose_precision("auto", CPU) == ("bf16" if cpu_has_bf16() else "fp32")
    assert choose_precision("fp32", CPU) == "fp32"
    assert choose_precision("bf16", CPU) == "bf16"


@pytest.mark.parametrize("variant", known_variants())
def test_a_forced_variant_without_bfloat16_means_fp32(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIEBREAK_KERNELS", raising=False)
    here = choose_precision("auto", CPU)
    monkeypatch.setenv("TIEBREAK_KERNELS", variant)
    assert choose_precision("auto", CPU) == (here if variant.endswith("bf16") else "fp32")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", [MLPBaseline, SimpleCNN])
def test_weights_of_a_prepared_model_fit_the_plain_one(kind, precision):
    plain, other = make(kind), make(kind)
    source = copy.deepcopy(plain)
    placement = choose_placement(plain, SHAPE, CPU, precision)
    prepared = prepare_model(plain, placement)
    assert [type(layer) for layer in plain.modules()] == [type(layer) for layer in source.modules()]
    with torch.no_grad():
        for parameter in prepared.parameters():
            parameter.mul_(2)
    assert [name for name, _ in prepared.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert [name for name, _ in prepared.named_modules()] == [name for name, _ in plain.named_modules()]
    state = prepared.state_dict()
    assert list(state) == list(source.state_dict())
    assert all(tensor.dtype == torch.float32 for tensor in state.values())
    other.load_state_dict(state)
    assert all(torch.equal(a, 2 * b) for a, b in zip(other.parameters(), source.parameters(), strict=True))
    prepared.load_state_dict(source.state_dict())
    assert torch.equal(next(prepared.parameters()), next(source.parameters()))


def test_the_cnn_gets_all_that_pays_and_bf16_logits_come_back_in_float32():
    model = make(SimpleCNN)
    placement = choose_placement(model, SHAPE, CPU, "bf16")
    assert placement == Placement(
        device="cpu",
        precision="bf16",
        channels_last=True,
        kernels=kernel_variant(),
        winograd=has_convolution(torch.bfloat16),
        pool_first=True,
        bf16_weights=True,
        bf16_images=True,
    )
    prepared = prepare_model(model, placement)
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = prepared(images.to(torch.bfloat16, memory_format=torch.channels_last))
        assert logits.dtype == torch.float32
        torch.testing.assert_close(logits, model(images), rtol=0.05, atol=0.02)


class Viewing(nn.Module):
    """Views its activations, which a channels_last layout does not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4 * 10 * 8, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.conv(images).view(len(images), -1))


class Tapping(nn.Module):
    """Looks between the layers of its own Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers[:2](images).mean((2, 3)) + self.layers(images).mean((2, 3))


class Asking(nn.Module):
    """Asks its layers what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.layers(images).mean((2, 3))
        return self.head(features) / self.layers[0].out_channels


class Thresholding(nn.Module):
    """Does something with the pixels that rounding them changes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 12 * 10, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head((1_000 * images.float()).sin().flatten(1))


def test_a_model_with_its_own_ideas_keeps_its_function():
    with global_stream(0, "test"):
        models = [Viewing(), Tapping(), Asking(), Thresholding()]
    viewing, tapping, asking, thresholding = (choose_placement(model, SHAPE, CPU, "bf16") for model in models)
    assert not viewing.channels_last
    assert tapping.channels_last and not tapping.pool_first and not tapping.winograd
    assert not asking.winograd
    assert not thresholding.bf16_images


class Refusing(nn.Module):
    """Insists on float32."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 12 * 10, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.head(images.flatten(1))
        if logits.dtype != torch.float32:
            raise RuntimeError("float32 only")
        return logits


def test_a_model_that_cannot_compute_in_bf16_is_told():
    with global_stream(0, "test"):
        model = Refusing()
    with pytest.raises(
        ModelError, match=r"^This model cannot compute in bf16 on cpu; try --precision fp32\.$"
    ):
        choose_placement(model, SHAPE, CPU, "bf16")
    assert choose_placement(model, SHAPE, CPU, "fp32").precision == "fp32"


def test_the_choice_leaves_mode_and_parameters_alone():
    model = make(SimpleCNN).eval()
    before = copy.deepcopy(model.state_dict())
    choose_placement(model, SHAPE, CPU, "bf16")
    assert not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.features[0].weight.is_contiguous()


def test_onednn_is_used_only_inside_a_run_and_only_if_it_is_true_fp32(data):
    switch = torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    onednn_is_true_fp32.cache_clear()
    is_true = onednn_is_true_fp32()
    assert switch.fp32_precision == before
    with computing(Placement(device="cpu", precision="fp32", onednn_matmul=True)):
        assert switch.fp32_precision == "bf16"
    assert switch.fp32_precision == before
    spec = RunSpec(model="linear", recipe=Recipe(epochs=1), seed=0, val_size=40)
    events = train_run(spec, data, CPU, precision="fp32")
    next(events)
    assert switch.fp32_precision == ("bf16" if is_true else before)
    events.close()
    assert switch.fp32_precision == before


def test_fp32_on_a_gpu_is_no_tf32_and_the_switches_are_put_back():
    """They can be looked at where there is no GPU. A user's own choice is left as it was."""
    switches = (torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [switch.fp32_precision for switch in switches]
    with computing(Placement(device="cuda", precision="fp32")):
        assert [switch.fp32_precision for switch in switches] == ["ieee", "ieee"]
    assert [switch.fp32_precision for switch in switches] == before


@pytest.mark.parametrize("model", ["mlp(hidden_dim=24, dropout=0.3)", "cnn(width=6)"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_seed_gives_the_same_bytes(data, model, precision):
    first, second = (run(data, model, precision, flip=True, crop=1) for _ in range(2))
    assert first.placement == second.placement
    assert first.placement.precision == precision
    assert first.history == second.history
    assert first.weights.keys() == second.weights.keys()
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)
    for name, values in vars(first.predictions).items():
        assert (values == getattr(second.predictions, name)).all()


@pytest.mark.parametrize(
    ("kind", "optimizer_name", "changes"),
    [
        (MLPBaseline, "adam", {}),
        (SimpleCNN, "adam", {"winograd": False}),
        # Not Adam: of a gradient that is 0 but for rounding it makes a step of full length.
        (SimpleCNN, "sgd", {}),
    ],
)
def test_fp32_equals_the_plain_loop_for_20_steps(data, kind, optimizer_name, changes):
    """To 1e-5 of the parameters' norm; sums in another order are all that differs."""
    plain, mine = make(kind), make(kind)
    placement = replace(choose_placement(mine, SHAPE, CPU, "fp32"), **changes)
    prepared = prepare_model(mine, placement)
    part = data.train

    def batches():
        return part.batches(8, shuffle=True, generator=torch.Generator().manual_seed(5))

    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.mean, data.std))
    if optimizer_name == "sgd":
        optimizer = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.9)
    else:
        optimizer = torch.optim.Adam(plain.parameters(), lr=0.01)
    order = torch.randperm(160, generator=torch.Generator().manual_seed(5))
    losses = []
    for chosen in order.split(8):
        images = (part.images[chosen] / 255 - mean) / std
        optimizer.zero_grad()
        loss = F.cross_entropy(plain(images), part.labels[chosen])
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()) * len(chosen))
    recipe = Recipe(optimizer=optimizer_name, lr=0.01)
    with computing(placement):
        steps = train_steps(
            prepared,
            prepare_batches(batches(), placement),
            make_criterion(recipe),
            make_optimizer(recipe, prepared),
            CPU,
        )
        *_, running = steps
    assert len(losses) == 20
    assert running.loss == pytest.approx(sum(losses) / 160, rel=1e-5)
    for expected, got in zip(plain.parameters(), prepared.parameters(), strict=True):
        assert (expected - got).norm() <= 1e-5 * expected.norm()


def test_bf16_autocast_is_what_the_prepared_model_computes():
    """The plain model under PyTorch's autocast gives the same logits, pooled in the other order."""
    model = make(SimpleCNN)
    placement = replace(choose_placement(model, SHAPE, CPU, "bf16"), bf16_images=False, winograd=False)
    images = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last)
    prepared = prepare_model(model, placement)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = model.to(memory_format=torch.channels_last)(images).float()
    with torch.no_grad():
        assert torch.equal(prepared(images), expected)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_loaded_optimiser_goes_on_as_the_one_that_was_stored(name):
    """Files hold contiguous tensors, the convolutions of a prepared model are channels_last."""
    recipe = Recipe(optimizer=name)
    images = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last)

    def prepared():
        model = make(SimpleCNN)
        model = prepare_model(model, choose_placement(model, SHAPE, CPU, "fp32"))
        return model, make_optimizer(recipe, model)

    def step(model, optimizer):
        optimizer.zero_grad()
        model(images).square().sum().backward()
        optimizer.step()

    model, optimizer = prepared()
    step(model, optimizer)
    stored = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    for state in stored[1]["state"].values():
        state.update({key: value.contiguous() for key, value in state.items() if value is not None})
    other, loaded = prepared()
    other.load_state_dict(stored[0])
    loaded.load_state_dict(stored[1])
    for one_model, one_optimizer in ((model, optimizer), (other, loaded)):
        step(one_model, one_optimizer)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
