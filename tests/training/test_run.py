"""What a run leaves: the same wherever it is computed, and predictions that are those of its weights."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from odd_models import ODD
from tiebreak.actions.look import examine
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.errors import ModelError
from tiebreak.models.weights import load_weights
from tiebreak.results.run import best_epoch
from tiebreak.rng import global_stream
from tiebreak.study.plan import Execution
from tiebreak.study.where.execute import execute
from tiebreak.study.where.task import RunFinished, RunId, Task
from tiebreak.training.checkpoint import Checkpoint
from tiebreak.training.clock import Stopwatch
from tiebreak.training.loop import EpochResult, predict, train_steps
from tiebreak.training.placement.precision import computing, prepare_batches, prepare_model
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import EVAL_BATCH_SIZE, RunResult, prepare_run, train_run, weights_of
from tiebreak.training.spec import RunSpec, initial_model, run_images

CPU = torch.device("cpu")


@pytest.fixture
def odd(tmp_path: Path) -> str:
    path = tmp_path / "odd.py"
    path.write_text(ODD)
    return str(path)


def some_images() -> ImageDataset:
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (150, 1, 8, 8), generator=draws).to(torch.uint8)
    labels = torch.arange(150) % 3
    return make_dataset("some", images[:100], labels[:100], images[100:], labels[100:], ("a", "b", "c"))


def spec_of(model: str, seed: int = 0, **recipe: object) -> RunSpec:
    settings = {"epochs": 2, "batch_size": 16} | recipe
    return RunSpec(model=model, recipe=Recipe(**settings), seed=seed, val_size=20)


def result_of(events: Iterator[object]) -> RunResult:
    *_, last = events
    assert isinstance(last, RunResult)
    return last


def content(result: RunResult) -> dict[str, bytes]:
    weights = {name: tensor.numpy().tobytes() for name, tensor in result.weights.items()}
    return weights | {name: array.tobytes() for name, array in vars(result.predictions).items()}


def answers_of_weights(spec: RunSpec, data: ImageDataset, result: RunResult) -> np.ndarray:
    """What a model with a run's stored weights says of the test images."""
    model = initial_model(spec, data)
    load_weights(model, result.weights)
    batches = prepare_batches(run_images(spec, data).test.batches(EVAL_BATCH_SIZE), result.placement)
    with computing(result.placement):
        return predict(prepare_model(model, result.placement), batches, CPU).numpy()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "model", ["mlp(hidden_dim=8)", "cnn(width=4)", "local(width=2)", "cnn-shuffled-taps(width=2)"]
)
def test_stored_predictions_are_those_of_the_stored_weights(model: str, precision: str) -> None:
    spec, data = spec_of(model), some_images()
    result = result_of(train_run(spec, data, CPU, precision=precision))
    np.testing.assert_array_equal(answers_of_weights(spec, data, result), result.predictions.test_probs)


def test_mirrored_test_images_count_half() -> None:
    spec, data = spec_of("cnn(width=4)"), some_images()
    recipe = spec.recipe.model_copy(update={"tta": "mirror"})
    plain, mirrored = (
        result_of(train_run(one, data, CPU, precision="fp32"))
        for one in (spec, spec.model_copy(update={"recipe": recipe}))
    )
    assert all(torch.equal(plain.weights[name], mirrored.weights[name]) for name in plain.weights)
    model = initial_model(spec, data)
    load_weights(model, mirrored.weights)
    images, _ = next(iter(data.test.batches(EVAL_BATCH_SIZE)))
    with torch.no_grad():
        logits = (model.eval()(images) + model(images.flip(3))) / 2
    np.testing.assert_allclose(
        mirrored.predictions.test_probs, logits.softmax(dim=1).numpy(), rtol=1e-4, atol=1e-6
    )
    assert not np.array_equal(mirrored.predictions.test_probs, plain.predictions.test_probs)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_moving_average_is_what_is_validated_stored_and_tested(precision: str) -> None:
    spec, data = spec_of("mlp(hidden_dim=8)"), some_images()
    recipe = spec.recipe.model_copy(update={"ema": 0.7})
    result = result_of(train_run(spec.model_copy(update={"recipe": recipe}), data, CPU, precision=precision))
    bench = prepare_run(spec, data, CPU, precision)
    state, mean = bench.state, None
    with computing(bench.placement), global_stream(spec.seed, "dropout"):
        for _ in range(spec.recipe.epochs):
            for _ in train_steps(state.model, bench.train_batches, bench.criterion, state.optimizer, CPU):
                now = weights_of(state.model)
                mean = now if mean is None else {k: 0.7 * mean[k] + 0.3 * now[k] for k in now}
    assert mean is not None
    for name, weight in result.weights.items():
        torch.testing.assert_close(weight, mean[name], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(answers_of_weights(spec, data, result), result.predictions.test_probs)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_early_stopping_keeps_the_best_epoch(precision: str) -> None:
    """Its weights and answers are those of a run that ends there; training ends when asked to."""
    spec, data = spec_of("mlp(hidden_dim=8)"), some_images()  # whose labels are noise

    def with_recipe(**settings: int) -> RunResult:
        recipe = spec.recipe.model_copy(update={"lr": 0.03, **settings})
        return result_of(
            train_run(spec.model_copy(update={"recipe": recipe}), data, CPU, precision=precision)
        )

    whole, stopped = with_recipe(epochs=12), with_recipe(epochs=12, patience=2)
    accuracies = stopped.history["val_acc"]
    assert stopped.kept_epoch == best_epoch(stopped.history) < len(accuracies) == stopped.kept_epoch + 2 < 12
    assert accuracies == whole.history["val_acc"][: len(accuracies)]
    assert whole.kept_epoch is None
    short = with_recipe(epochs=stopped.kept_epoch)
    assert all(torch.equal(short.weights[name], stopped.weights[name]) for name in short.weights)
    np.testing.assert_array_equal(short.predictions.test_probs, stopped.predictions.test_probs)
    assert stopped.test_acc == short.test_acc
    patient = with_recipe(epochs=12, patience=12)
    assert len(patient.history["val_acc"]) == 12
    assert patient.kept_epoch == best_epoch(whole.history)


def test_of_equally_accurate_epochs_the_lowest_loss_and_then_the_first_is_the_best() -> None:
    curves = {"train_loss": [1.0] * 4, "train_acc": [0.5] * 4}
    assert best_epoch({**curves, "val_acc": [0.5, 0.7, 0.7, 0.6], "val_loss": [1.0, 0.9, 0.8, 0.1]}) == 3
    assert best_epoch({**curves, "val_acc": [0.7, 0.7, 0.7, 0.6], "val_loss": [0.9, 0.9, 0.9, 0.1]}) == 1


def test_airnet_begins_from_the_training_images_of_its_seed() -> None:
    image = torch.randint(0, 256, (130, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(130) % 3
    images = image.to(torch.uint8)
    data = make_dataset("some", images[:100], labels[:100], images[100:], labels[100:], ("a", "b", "c"))
    spec = RunSpec(model="airnet(width=8)", recipe=Recipe(epochs=1, batch_size=16), seed=3, val_size=20)
    result = result_of(train_run(spec, data, CPU, precision="fp32"))
    train = run_images(spec, data).train
    model = initial_model(spec, data, train)
    assert torch.equal(model.first.weight, result.weights["first.weight"])
    other = initial_model(spec, data, run_images(spec.model_copy(update={"seed": 4}), data).train)
    assert not torch.equal(model.first.weight, other.first.weight)
    plain = spec.model_copy(update={"model": "airnet(width=8, whitening=False)"})
    drawn = initial_model(plain, data, train).first.weight
    assert torch.equal(drawn, initial_model(plain, data).first.weight), "not set from images"
    trained = result_of(train_run(plain, data, CPU, precision="fp32")).weights["first.weight"]
    assert not torch.equal(drawn, trained)


def test_tied_weights_are_stored_each_with_its_own_memory(odd: str) -> None:
    result = result_of(train_run(spec_of(f"{odd}:Tied"), some_images(), CPU, precision="fp32"))
    assert torch.equal(result.weights["a.weight"], result.weights["b.weight"])
    places = [tensor.untyped_storage().data_ptr() for tensor in result.weights.values()]
    assert len(set(places)) == len(places)


def test_a_users_draws_are_the_runs_own_in_every_executor(odd: str) -> None:
    data, model = some_images(), f"{odd}:Drawing"
    tasks = [
        Task(run=RunId(label=model, seed=seed, epochs=2), spec=spec_of(model, seed)) for seed in range(4)
    ]
    found = []
    for execution in (
        Execution(precision="fp32", executor="serial"),
        Execution(precision="fp32", executor="processes", workers=2),
    ):
        ended = {
            run.seed: news.result
            for run, news in execute(tasks, data, execution)
            if isinstance(news, RunFinished)
        }
        found.append({seed: content(result) for seed, result in ended.items()})
    assert found[0] == found[1]
    assert len({run["drawn"] for run in found[0].values()}) == 4, "no two seeds have the same draws"
    assert len({run["last"] for run in found[0].values()}) == 4


def test_who_reads_events_does_not_change_what_a_model_draws(odd: str) -> None:
    spec, data = spec_of(f"{odd}:Drawing"), some_images()
    quiet = result_of(train_run(spec, data, CPU, precision="fp32", checkpoint_seconds=0.0))
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    events = []
    for event in train_run(spec, data, CPU, precision="fp32", checkpoint_seconds=0.0):
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        events.append(event)
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    assert content(result_of(iter(events))) == content(quiet)

    checkpoint = [event for event in events if isinstance(event, Checkpoint)][3]
    resumed = result_of(train_run(spec, data, CPU, checkpoint.content, precision="fp32"))
    assert content(resumed) == content(quiet)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_every_piece_of_a_recipe_goes_on_exactly(optimizer: str) -> None:
    """Warm-up, clipping, undecayed norms and all augmentation, from the middle of an epoch."""
    pieces = {"warmup": 0.2, "schedule": "cosine", "clip": 0.5, "weight_decay": 0.01, "decay_norms": False}
    images = {"flip": True, "crop": 2, "pad": "reflect", "cutout": 3, "brightness": 0.2, "contrast": 0.2}
    spec = spec_of(
        "deep-mlp(width=8, dropout=0.3)", optimizer=optimizer, nesterov=optimizer == "sgd", **pieces, **images
    )
    events = list(train_run(spec, some_images(), CPU, precision="fp32", checkpoint_seconds=0.0))
    whole = content(result_of(iter(events)))
    checkpoints = [event for event in events if isinstance(event, Checkpoint)]
    for checkpoint in (checkpoints[1], checkpoints[len(checkpoints) // 2 + 1]):
        assert checkpoint.batch > 0
        again = train_run(spec, some_images(), CPU, checkpoint.content, precision="fp32")
        assert content(result_of(again)) == whole


def test_a_slow_reader_is_not_counted_as_training() -> None:
    spec, data = spec_of("linear"), some_images()
    waited = 0.0
    for event in train_run(spec, data, CPU, precision="fp32", checkpoint_seconds=0.0):
        if isinstance(event, Checkpoint | EpochResult):
            time.sleep(0.05)
            waited += 0.05
        last = event
    assert isinstance(last, RunResult)
    assert waited > 0.5
    assert last.timing.train_seconds + last.timing.evaluate_seconds < waited


def test_a_stopwatch_stands_still_while_paused() -> None:
    clock = Stopwatch()
    clock.restart(10.0)
    before = clock.seconds
    with clock.paused():
        time.sleep(0.05)
    assert 10.0 <= before <= clock.seconds < 10.05


def test_examine_takes_the_first_step_of_its_run() -> None:
    data = some_images()
    anatomy = examine("mlp(hidden_dim=8)", data, seed=3, device="cpu", batch_size=16, crop=1)
    spec = RunSpec(
        model="mlp(hidden_dim=8)",
        recipe=Recipe(batch_size=16, crop=1, epochs=1),
        seed=3,
        val_size=data.val_size(),
    )
    model, (images, labels) = initial_model(spec, data), next(iter(run_images(spec, data).train))
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    assert anatomy.loss_before == pytest.approx(loss.item())

    first = next(
        event
        for event in train_run(spec, data, CPU, precision="fp32", checkpoint_seconds=0.0)
        if isinstance(event, Checkpoint)
    )
    from tiebreak.training.checkpoint import read_checkpoint
    from tiebreak.training.run import run_key

    _, tensors = read_checkpoint(first.content, run_key(spec, data))
    assert float(tensors["running.loss_sum"]) / 16 == pytest.approx(anatomy.loss_before, rel=1e-5)


def test_a_failure_in_a_run_is_one_line_with_its_place(odd: str) -> None:
    spec = spec_of(f"{odd}:Tired(steps=4)")
    with pytest.raises(ModelError, match=r"failed in its run: RuntimeError: too tired \(.*line \d+: "):
        list(train_run(spec, some_images(), CPU, precision="fp32"))


def test_the_weight_that_does_not_fit_is_named(odd: str) -> None:
    data = some_images()
    model = initial_model(spec_of("mlp(hidden_dim=8)"), data)
    other = initial_model(spec_of("mlp(hidden_dim=9)"), data).state_dict()
    with pytest.raises(ModelError, match=r"fc1.weight is \(8, 64\) float32 in the model, \(9, 64\) float32"):
        load_weights(model, other)
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    with pytest.raises(ModelError, match=r"fc1.weight is \(8, 64\) float32 in the model, \(8, 64\) float16"):
        load_weights(model, half)
    with pytest.raises(ModelError, match=r"extra is missing in the model, \(1,\) float32 in what was stored"):
        load_weights(model, model.state_dict() | {"extra": torch.zeros(1)})
