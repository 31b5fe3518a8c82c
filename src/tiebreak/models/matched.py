"""An MLP as large as another model, to ask whether a lead is just a matter of size."""

from torch import nn

from tiebreak.errors import ModelError
from tiebreak.models.cost import model_cost
from tiebreak.models.mlp import MLPBaseline
from tiebreak.rng import global_stream

DEFAULT_HIDDEN_DIM = 512


def mlp(
    image_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    hidden_dim: int = DEFAULT_HIDDEN_DIM,
    dropout: float = 0.0,
    match: str | None = None,  # a model, e.g. "cnn(width=64)"
    by: str = "params",  # or "flops"
) -> nn.Module:
    """`MLPBaseline` with `hidden_dim` units or, with `match`, with as many as come nearest to another model.

    Raises: ModelError if `by` is unknown, `match` stands beside a hidden_dim, or the other model is wrong.
    """
    if match is None:
        return MLPBaseline(image_shape, num_classes, hidden_dim, dropout)
    if hidden_dim != DEFAULT_HIDDEN_DIM:
        raise ModelError(f"mlp takes match or hidden_dim, got both ({match!r} and {hidden_dim}); drop one.")
    return MLPBaseline(image_shape, num_classes, matching_width(match, by, image_shape, num_classes), dropout)


def matching_width(match: str, by: str, image_shape: tuple[int, int, int], num_classes: int) -> int:
    """How many hidden units give an MLP the parameters, or the FLOPs, of the model `match`; at least 1.

    Raises: ModelError as `mlp`.
    """
    from tiebreak.models.catalog import build_model  # the catalog lists this module's mlp

    if by not in ("params", "flops"):
        raise ModelError(f"mlp: by must be 'params' or 'flops', got {by!r}.")
    with global_stream(0, "match"):  # its weights do not matter, and must not move the MLP's
        cost = model_cost(build_model(match, image_shape, num_classes), image_shape)
    channels, height, width = image_shape
    inputs = channels * height * width
    if by == "params":  # hidden * (inputs + 1) + classes * (hidden + 1)
        units = (cost.params - num_classes) / (inputs + 1 + num_classes)
    else:  # two operations a weight, as `model_cost` counts
        units = cost.flops / (2 * (inputs + num_classes))
    return max(1, round(units))
