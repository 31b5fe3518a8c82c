"""Muon: each step turns a weight matrix by an orthogonal one, so that all directions learn at one rate.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". PyTorch's own takes matrices
alone (torch.optim.Muon); this one takes filters, too, and gives AdamW what is no hidden matrix.

Shape letters: O rows (filters), I columns (inputs of each).
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # of Newton and Schulz, tuned to bring singular values near 1 soon
ROUNDS = 5
TINY = 1e-7


class Muon(torch.optim.AdamW):
    """Muon for the hidden matrices and filters, AdamW for biases, norms and the last layer.

    Weight decay is decoupled for both. Muon's rate is `lr`, scaled for a tall matrix as in the paper.
    """

    def __init__(
        self,
        hidden: Sequence[nn.Parameter],
        others: Sequence[dict[str, Any]],
        lr: float,
        *,
        adam_lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        groups = [{"params": list(hidden), "lr": lr, "muon": True, "momentum": momentum}]
        groups += [{"muon": False} | group for group in others]
        super().__init__(
            [group for group in groups if group["params"]], adam_lr, weight_decay=weight_decay, fused=True
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no loss is computed again here
        # AdamW sees its own groups alone. A hook that clips gradients then runs for them once more, in vain.
        everything = self.param_groups
        self.param_groups = [group for group in everything if not group["muon"]]
        try:
            super().step(closure)
        finally:
            self.param_groups = everything
        for group in everything:
            for weight in group["params"] if group["muon"] else ():
                if weight.grad is not None:
                    self._turn(weight, group)

    def _turn(self, weight: nn.Parameter, group: dict[str, Any]) -> None:
        gradient, state = weight.grad, self.state[weight]
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # AdamW looks for one in all states that it loads
        state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        step = gradient.lerp(state["momentum_buffer"], group["momentum"]).flatten(1)  # Nesterov's
        rows, columns = step.shape
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(orthogonalised(step).view_as(weight), alpha=-rate)


def orthogonalised(matrix: Float[Tensor, "O I"]) -> Float[Tensor, "O I"]:
    """About the nearest matrix with orthogonal rows (or columns, if it has more rows), by Newton and Schulz.

    Singular values come to lie between about 0.7 and 1.2. Computed in float32, so that it is alike on every
    processor.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).float()
    x = x / x.norm().clamp(min=TINY)
    a, b, c = POLYNOMIAL
    for _ in range(ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).to(matrix.dtype)


def split_hidden(parameters: Sequence[nn.Parameter]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The matrices and filters of hidden layers, and all others: the last matrix is the output layer's."""
    matrices = [parameter for parameter in parameters if parameter.dim() > 1]
    hidden = matrices[:-1]
    known = set(map(id, hidden))
    return hidden, [parameter for parameter in parameters if id(parameter) not in known]
