"""How a transform is written: `permute-pixels`, `blur(1.0)` or, for the test part alone, `test:shift(4)`."""

import inspect
import math
from dataclasses import dataclass

from tiebreak.calls import Call, parse_call
from tiebreak.errors import DataError, did_you_mean

TEST_ONLY = "test:"
# What each takes, as its function in transform.py has it after images and generator.
PARAMETERS: dict[str, dict[str, type[int] | type[float]]] = {
    "permute-pixels": {},
    "permute-patches": {"size": int},
    "grayscale": {},
    "blur": {"sigma": float},
    "noise": {"sd": float},
    "shift": {"pixels": int},
    "rotate": {"degrees": float},
    "occlude": {"size": int},
}
# A model that never saw the permuted arrangement could not read it: that would test nothing.
WHOLE_DATA_ONLY = ("permute-pixels", "permute-patches")


@dataclass(frozen=True)
class Transform:
    """A transform with its arguments, and what it is applied to."""

    call: Call
    test_only: bool = False

    def __str__(self) -> str:
        return f"{TEST_ONLY if self.test_only else ''}{self.call}"


def parse_transform(text: str) -> Transform:
    """Read `blur(1.0)` or `test:blur(1.0)`.

    Raises: DataError if the name is unknown, an argument does not fit or is of the wrong type, or a
    permutation is asked for on the test part alone.
    """
    text = text.strip()
    test_only = text.startswith(TEST_ONLY)
    call = parse_call(text.removeprefix(TEST_ONLY), DataError)
    if call.name not in PARAMETERS:
        raise DataError(f'Unknown transform "{call.name}". {did_you_mean(call.name, PARAMETERS)}')
    if test_only and call.name in WHOLE_DATA_ONLY:
        raise DataError(f"{text}: a permutation goes over all images; write {call} without {TEST_ONLY}")
    return Transform(Call(call.name, _arguments(call)), test_only)


def _arguments(call: Call) -> tuple[int | float, ...]:
    """The arguments in order, checked, each of its parameter's type."""
    types = PARAMETERS[call.name]
    needed = f"{call.name}({', '.join(types)})"
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in types]
    try:
        bound = inspect.Signature(parameters).bind(*call.args, **call.kwargs)
    except TypeError as error:
        raise DataError(f"{call}: {error}; write {needed.removesuffix('()')}.") from None
    values: list[int | float] = []
    for name, kind in types.items():
        value = bound.arguments[name]
        if type(value) not in ((int,) if kind is int else (int, float)) or not math.isfinite(value):
            needed = "a whole number" if kind is int else "a number"
            raise DataError(f"{call}: {name} must be {needed}, got {value!r}.")
        values.append(kind(value))
    return tuple(values)
