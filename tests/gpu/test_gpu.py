"""A run on a CUDA device keeps what is promised: same bytes, exact resumption, float32 that is float32."""

from itertools import takewhile
from pathlib import Path

import pytest
import torch

from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.study.driver import run_study
from tiebreak.study.plan import Execution, Study, parse_contender
from tiebreak.study.record import RunRecord
from tiebreak.training.checkpoint import Checkpoint
from tiebreak.training.placement.placement import Precision
from tiebreak.training.placement.precision import choose_placement, computing, prepare_batches, prepare_model
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import RunResult, train_run
from tiebreak.training.spec import RunSpec, initial_model, run_images

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
MODELS = ("mlp", "cnn", "local")


def some_images() -> ImageDataset:
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (700, 3, 32, 32), generator=draws).to(torch.uint8)
    labels = torch.arange(700) % 10
    return make_dataset("some", images[:600], labels[:600], images[600:], labels[600:], tuple("0123456789"))


def spec_of(model: str) -> RunSpec:
    recipe = Recipe(epochs=3, batch_size=64, flip=True, crop=4, schedule="cosine")
    return RunSpec(model=model, recipe=recipe, seed=1, val_size=50)


def content(result: RunResult) -> dict[str, bytes]:
    weights = {name: tensor.numpy().tobytes() for name, tensor in result.weights.items()}
    return weights | {name: array.tobytes() for name, array in vars(result.predictions).items()}


def train(model: str, precision: Precision, checkpoint: bytes | None = None) -> list[object]:
    cuda = torch.device("cuda")
    return list(train_run(spec_of(model), some_images(), cuda, checkpoint, precision=precision))


def result_of(events: list[object]) -> RunResult:
    assert isinstance(events[-1], RunResult)
    return events[-1]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", MODELS)
def test_the_same_seed_gives_the_same_bytes(model: str, precision: Precision) -> None:
    first, second = (result_of(train(model, precision)) for _ in range(2))
    assert content(first) == content(second)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", MODELS)
def test_a_run_goes_on_exactly_from_a_checkpoint(model: str, precision: Precision) -> None:
    events = train(model, precision)
    first = next(event for event in events if isinstance(event, Checkpoint))
    again = result_of(train(model, precision, first.content))
    assert content(again) == content(result_of(events))
    assert again.resumed_inexactly is None


@pytest.mark.parametrize("model", MODELS)
def test_float32_is_float32(model: str) -> None:
    """TF32 keeps 10 bits of a factor: its logits differ from float64's by 1e-4 and more."""
    spec, data, cuda = spec_of(model), some_images(), torch.device("cuda")
    module = initial_model(spec, data)
    images, _ = next(iter(run_images(spec, data).test.batches(50)))
    expected = module.double().eval()(images.double()).detach()
    module = initial_model(spec, data)
    placement = choose_placement(module, data.image_shape, cuda, "fp32")
    with computing(placement), torch.no_grad():
        logits = prepare_model(module, placement).eval()(images.to(cuda)).cpu().double()
    assert (logits - expected).norm() <= 2e-6 * expected.norm()


def test_augmented_batches_are_those_of_the_cpu() -> None:
    spec, data = spec_of("mlp"), some_images()
    placed = []
    for device in ("cpu", "cuda"):
        module = initial_model(spec, data)
        placement = choose_placement(module, data.image_shape, torch.device(device), "fp32")
        batches = prepare_batches(run_images(spec, data).train, placement)
        placed.append([(images.cpu(), labels.cpu()) for images, labels in batches])
    for (images, labels), (on_gpu, labels_on_gpu) in zip(*placed, strict=True):
        torch.testing.assert_close(on_gpu, images, rtol=0, atol=1e-6)
        assert torch.equal(labels, labels_on_gpu)


@pytest.mark.parametrize("workers", ["auto", 2])
def test_a_study_runs_on_a_gpu(tmp_path: Path, workers: int | str) -> None:
    recipe = Recipe(epochs=1, batch_size=64)
    study = Study(contenders=tuple(parse_contender(model, recipe) for model in ("mlp", "cnn")), seeds=(0, 1))
    execution = Execution(device="cuda", executor="processes", workers=workers)
    events = run_study(study, some_images(), tmp_path / "study", execution)
    records = [event.news for event in events if isinstance(event.news, RunRecord)]
    assert [(record.status, record.device) for record in records] == [("finished", "cuda")] * 4


def test_what_is_stopped_goes_on(tmp_path: Path) -> None:
    """Closing the events in the middle is a kill; what follows gives the bytes of an uninterrupted study."""
    study = Study(contenders=(parse_contender("cnn", Recipe(epochs=4, batch_size=64)),), seeds=(0,))
    execution = Execution(device="cuda", executor="serial", checkpoint_seconds=0)
    whole, broken = tmp_path / "whole" / "study", tmp_path / "broken" / "study"
    list(run_study(study, some_images(), whole, execution))
    events = run_study(study, some_images(), broken, execution)
    list(takewhile(lambda event: not (broken / "runs/cnn/seed-0/checkpoint.safetensors").is_file(), events))
    events.close()
    list(run_study(study, some_images(), broken, execution))
    name = "runs/cnn/seed-0/weights.safetensors"
    assert (broken / name).read_bytes() == (whole / name).read_bytes()
