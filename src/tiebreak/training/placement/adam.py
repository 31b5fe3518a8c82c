"""Adam with the values of `torch.optim.Adam(fused=True)` that takes gradients in bfloat16."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tiebreak.kernels import AdamSettings, adam_update


class Adam(torch.optim.Adam):
    """`torch.optim.Adam`, or with `decoupled_weight_decay` AdamW, in one pass over memory.

    A parameter's gradient may be in bfloat16.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        *,
        weight_decay: float,
        decoupled_weight_decay: bool,
    ) -> None:
        super().__init__(
            parameters,
            lr,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            fused=True,
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None, "the training loop computes gradients itself"
        for group in self.param_groups:
            settings = AdamSettings(
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                decoupled_weight_decay=group["decoupled_weight_decay"],
            )
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, settings)

    def _update(self, parameter: nn.Parameter, gradient: Tensor, settings: AdamSettings) -> None:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        adam_update(parameter, gradient, state["exp_avg"], state["exp_avg_sq"], int(state["step"]), settings)
