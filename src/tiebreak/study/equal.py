"""Equal budgets: every contender trains until it has spent what one of them spends, or a given amount."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field

from tiebreak.settings import Settings

TRAINING_FLOPS = 3  # times those of a forward pass: the backward pass has two products for each of its


class Budget(StrEnum):
    """What is spent."""

    EPOCHS = "epochs"
    SECONDS = "seconds"  # of training, as a few steps here and now say
    FLOPS = "flops"  # of training
    STEPS = "steps"  # of the optimiser


class Equal(Settings):
    """The budget of each run. Training goes on for whole epochs, so what is spent is within half of one."""

    what: Budget
    of: str | None = None  # the contender that sets it, with its own epochs; None: the first one
    amount: float | None = Field(default=None, gt=0)  # or so much of it
    asked: tuple[int, ...] = ()  # the contenders' epochs before it decided them; filled in, not given

    def __str__(self) -> str:
        """In words: "as many seconds as cnn spends", "60 seconds each"."""
        if self.amount is not None:
            return f"{self.amount:g} {self.what} each"
        return f"as many {self.what} as {self.of or 'the first'} spends"


def read_equal(value: Any) -> Any:
    """A budget as the command line writes it: "seconds", "seconds:cnn", "seconds=60"."""
    if not isinstance(value, str):
        return value
    what, equals, amount = value.partition("=")
    what, colon, label = (what, "", "") if equals else value.partition(":")
    if what not in list(Budget):
        raise ValueError(
            f"expected one of {', '.join(Budget)}, such as seconds:cnn or seconds=60, got {value!r}"
        )
    if equals:
        try:
            return {"what": what, "amount": float(amount)}
        except ValueError:
            raise ValueError(f"expected a number such as {what}=60, got {value!r}") from None
    return {"what": what, "of": label} if colon else {"what": what}


def equal_epochs(equal: Equal, epochs: Mapping[str, int], an_epoch: Mapping[str, float]) -> dict[str, int]:
    """The epochs that come nearest to the budget, at least one, by label.

    Arguments: `epochs` - of the contenders' recipes, the first one's first; `an_epoch` - what one costs.
    """
    sets_it = equal.of or next(iter(epochs))
    target = equal.amount if equal.amount is not None else epochs[sets_it] * an_epoch[sets_it]
    return {label: max(1, math.floor(target / cost + 0.5)) for label, cost in an_epoch.items()}
