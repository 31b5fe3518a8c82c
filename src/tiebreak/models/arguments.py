"""What the arguments of the built-in models may be."""

from tiebreak.errors import ModelError


def check_size(model: str, name: str, value: int) -> None:
    """Raises: ModelError unless `value` is a whole number from 1."""
    if type(value) is not int or value < 1:
        raise ModelError(f"{model}: {name} must be a whole number from 1, got {value!r}.")


def check_switch(model: str, name: str, value: bool) -> None:
    """Raises: ModelError unless `value` is True or False."""
    if type(value) is not bool:
        raise ModelError(f"{model}: {name} must be True or False, got {value!r}.")


def check_dropout(model: str, share: float) -> None:
    """Raises: ModelError unless `share` is from 0 to below 1."""
    if type(share) not in (int, float) or not 0 <= share < 1:
        raise ModelError(f"{model}: dropout must be a number from 0 to below 1, got {share!r}.")
