"""The training loop against a plain one written out here, and against what a step must do."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tiebreak.data.dataset import make_dataset
from tiebreak.models.cnn import SimpleCNN
from tiebreak.models.mlp import MLPBaseline
from tiebreak.rng import global_stream, stream
from tiebreak.training.loop import StepResult, evaluate, fit, fit_steps, predict, train_one_epoch
from tiebreak.training.recipe.optimiser import make_criterion, make_optimizer
from tiebreak.training.recipe.recipe import Recipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data():
    """Noise with a class-dependent brightness: learnable, and no two images are alike."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(660) % 5
    noise = torch.randint(0, 128, (660, 3, 12, 12), generator=generator)
    images = (noise + 25 * labels[:, None, None, None]).to(torch.uint8)
    names = tuple("abcde")
    return make_dataset("bright", images[:600], labels[:600], images[600:], labels[600:], names)


@pytest.fixture(params=[MLPBaseline, SimpleCNN])
def model(request, data):
    with global_stream(0, "init"):
        return request.param(data.image_shape, data.num_classes)


def plain_losses(model, data, order, batch_size, lr):
    """The case study's loop on its own: PIL-free, one batch after the other, default Adam."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.mean, data.std))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    model.train()
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        images = (data.train_images[chosen].float() / 255 - mean) / std
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), data.train_labels[chosen])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_twenty_steps_have_the_losses_of_a_plain_loop(model, data):
    batch_size = 30  # 20 steps an epoch
    order = torch.randperm(600, generator=stream(0, "order"))
    expected = plain_losses(copy.deepcopy(model), data, order, batch_size, lr=1e-3)

    batches = data.train.batches(batch_size, shuffle=True, generator=stream(0, "order"))
    optimizer = make_optimizer(Recipe(), model)
    steps = fit_steps(model, batches, data.test.batches(), make_criterion(Recipe()), optimizer, CPU, epochs=1)
    sums = [step.running.loss * step.running.samples for step in steps if isinstance(step, StepResult)]
    losses = [(after - before) / batch_size for before, after in pairwise([0.0, *sums])]
    assert len(losses) == 20
    assert losses == pytest.approx(expected, rel=1e-5)


def test_a_plain_dataloader_is_accepted_and_means_the_same(model, data):
    train, val = data.split(100, seed=1)
    results = []
    for wrap in (
        lambda part: part.batches(64),
        lambda part: DataLoader(part, batch_size=64, generator=stream(0, "loader")),
    ):
        network = copy.deepcopy(model)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        history = fit(network, wrap(train), wrap(val), nn.CrossEntropyLoss(), optimizer, CPU, epochs=2)
        results.append(history)
    assert results[0]["train_loss"] == pytest.approx(results[1]["train_loss"], rel=1e-4)
    assert results[0]["val_acc"] == pytest.approx(results[1]["val_acc"])


def test_history_has_one_number_an_epoch_and_learning_shows(data, capsys):
    with global_stream(0, "init"):
        model = MLPBaseline(data.image_shape, data.num_classes, hidden_dim=32)
    batches = data.train.batches(32, shuffle=True, generator=stream(0, "order"))
    optimizer = make_optimizer(Recipe(), model)
    history = fit(model, batches, data.test.batches(), nn.CrossEntropyLoss(), optimizer, CPU, 3, verbose=True)
    assert {len(curve) for curve in history.values()} == {3}
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert history["val_acc"][-1] > 0.5 > 1 / data.num_classes
    lines = capsys.readouterr().out.splitlines()
    last = {name: curve[-1] for name, curve in history.items()}
    assert lines[-1] == (
        f"Epoch 03 | train loss {last['train_loss']:.4f} acc {last['train_acc']:.4f} | "
        f"val loss {last['val_loss']:.4f} acc {last['val_acc']:.4f}"
    )


def test_evaluate_is_the_mean_over_samples_and_changes_nothing(model, data):
    before = copy.deepcopy(model.state_dict())
    # 60 test images in batches of 50: means over batches would weigh the last 10 too much.
    loss, accuracy = evaluate(model, data.test.batches(50), nn.CrossEntropyLoss(), CPU)
    logits = model(
        (data.test_images / 255 - torch.tensor(data.mean).view(3, 1, 1))
        / torch.tensor(data.std).view(3, 1, 1)
    )
    assert loss == pytest.approx(F.cross_entropy(logits, data.test_labels).item(), rel=1e-5)
    assert accuracy == pytest.approx(float((logits.argmax(1) == data.test_labels).float().mean()))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_predict_gives_probabilities_in_the_order_of_the_batches(model, data):
    probs = predict(model, data.test.batches(7), CPU)
    assert probs.shape == (60, 5)
    torch.testing.assert_close(probs.sum(dim=1), torch.ones(60))
    torch.testing.assert_close(probs, predict(model, data.test.batches(60), CPU))


def test_train_one_epoch_returns_loss_and_accuracy(model, data):
    batches = data.train.batches(64)
    optimizer = make_optimizer(Recipe(), model)
    loss, accuracy = train_one_epoch(model, batches, nn.CrossEntropyLoss(), optimizer, CPU)
    assert loss > 0
    assert 0 <= accuracy <= 1
