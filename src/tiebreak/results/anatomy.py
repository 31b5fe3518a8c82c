"""One training step under the microscope, as plain values: what each layer gave, what each parameter did."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LayerOutput:
    """What one layer gave in the forward pass."""

    name: str
    kind: str  # the layer's class
    shape: tuple[int, ...]
    mean: float
    std: float
    zeros: float  # fraction of values that are exactly 0


@dataclass(frozen=True, kw_only=True)
class ParameterStep:
    """What backward and update did to one parameter."""

    name: str
    shape: tuple[int, ...]
    has_gradient: bool
    grad_mean_abs: float
    grad_norm: float
    grad_to_weight: float  # norm of the gradient / norm of the weight before the update
    step_to_weight: float  # norm of the update / norm of the weight before it


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """One step, in the order in which it happens. Both losses are of the same batch, in training mode."""

    images: int  # in the batch
    gradients_before: int  # parameters that held an old gradient before it was cleared
    layers: tuple[LayerOutput, ...]
    loss_before: float
    parameters: tuple[ParameterStep, ...]
    loss_after: float
    warnings: tuple[str, ...]
