"""One training step under the microscope: zero gradients, forward, loss, backward, update.

Shape letters: B images of a batch, C channels, H height, W width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tiebreak.data.dataset import ImageDataset
from tiebreak.models.users_code import users_code
from tiebreak.results.anatomy import Anatomy, LayerOutput, ParameterStep
from tiebreak.rng import global_stream
from tiebreak.training.recipe.optimiser import make_criterion, make_optimizer
from tiebreak.training.spec import RunSpec, initial_model, run_images


def examine_first_step(spec: RunSpec, data: ImageDataset, device: torch.device) -> Anatomy:
    """The first training step of a run: its first weights, on its first batch.

    Raises: ModelError if the model cannot be built or cannot take the step; DataError if the split fails.
    """
    train = run_images(spec, data).train
    images, labels = next(iter(train))
    model = initial_model(spec, data, train).to(device)
    optimizer, criterion = make_optimizer(spec.recipe, model), make_criterion(spec.recipe)
    with users_code(f"{spec.model} fails in its first step"), global_stream(spec.seed, "dropout"):
        return examine_step(model, images.to(device), labels.to(device), criterion, optimizer)


def examine_step(
    model: nn.Module,
    images: Float[Tensor, "B C H W"],
    labels: Int64[Tensor, " B"],
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> Anatomy:
    """Take one training step on a batch and record what happens; the model is updated by it."""
    model.train()
    gradients_before = sum(parameter.grad is not None for parameter in model.parameters())
    optimizer.zero_grad()
    with recorded_outputs(model) as layers:
        loss = criterion(model(images), labels)
    loss.backward()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer.step()
    parameters = tuple(
        _parameter_step(name, parameter, before[name]) for name, parameter in model.named_parameters()
    )
    with torch.no_grad():
        loss_after = float(criterion(model(images), labels))
    return Anatomy(
        images=len(images),
        gradients_before=gradients_before,
        layers=tuple(layers),
        loss_before=float(loss.detach()),
        parameters=parameters,
        loss_after=loss_after,
        warnings=tuple(_warnings(model, layers, float(loss.detach()))),
    )


@contextmanager
def recorded_outputs(model: nn.Module) -> Iterator[list[LayerOutput]]:
    """A list that fills with the output of every layer without children, in the order they are called."""
    outputs: list[LayerOutput] = []

    def record(name: str, layer: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            outputs.append(_layer_output(name, layer, output.detach()))

    leaves = [(name, layer) for name, layer in model.named_modules() if not any(layer.children())]
    handles = [layer.register_forward_hook(partial(record, name)) for name, layer in leaves]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _layer_output(name: str, layer: nn.Module, output: Tensor) -> LayerOutput:
    values = output.float()
    return LayerOutput(
        name=name or "(model)",
        kind=type(layer).__name__,
        shape=tuple(output.shape),
        mean=float(values.mean()),
        std=float(values.std(correction=0)),
        zeros=float((values == 0).float().mean()),
    )


def _parameter_step(name: str, parameter: nn.Parameter, before: Tensor) -> ParameterStep:
    gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(before)
    step = parameter.detach() - before
    weight_norm = float(before.norm())
    return ParameterStep(
        name=name,
        shape=tuple(parameter.shape),
        has_gradient=parameter.grad is not None,
        grad_mean_abs=float(gradient.abs().mean()),
        grad_norm=float(gradient.norm()),
        grad_to_weight=_ratio(float(gradient.norm()), weight_norm),
        step_to_weight=_ratio(float(step.norm()), weight_norm),
    )


def _ratio(part: float, whole: float) -> float:
    """part / whole; infinity for a weight that is still all zeros."""
    if whole == 0:
        return 0.0 if part == 0 else float("inf")
    return part / whole


def _warnings(model: nn.Module, layers: list[LayerOutput], loss: float) -> Iterator[str]:
    for layer in layers:
        if not torch.isfinite(torch.tensor([layer.mean, layer.std])).all():
            yield f"the output of {layer.name} holds NaN or infinity"
        elif layer.zeros == 1:
            yield f"the output of {layer.name} is all zeros: nothing behind it can learn"
    if not torch.isfinite(torch.tensor(loss)):
        yield f"the loss is {loss}"
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            yield f"{name} has no gradient: it took no part in the loss, or is frozen"
        elif not parameter.grad.isfinite().all():
            yield f"the gradient of {name} holds NaN or infinity"
