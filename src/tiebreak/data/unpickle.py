"""Read the pickles of CIFAR without running anything that they name.

Two walls: the stream may hold only the instructions that lists, dicts, strings, integers and NumPy
arrays need, and the names it imports are answered with stand-ins that belong to this one reading;
nothing is ever imported.
"""

import io
import pickle
import pickletools
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tiebreak.errors import DataError

Value = NDArray[np.integer] | list[object] | dict[object, object] | bytes | str | int | None

# fmt: off
OPCODES = frozenset([
    "PROTO", "FRAME", "STOP", "MARK", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "NONE",
    "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "STRING",
    "SHORT_BINSTRING", "BINSTRING", "SHORT_BINBYTES", "BINBYTES", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST",
    "APPEND", "APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "PUT", "BINPUT",
    "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET",
])
# fmt: on
TUPLES = frozenset(["EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"])
PUTS = frozenset(["PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"])
GETS = frozenset(["GET", "BINGET", "LONG_BINGET"])
DTYPES = frozenset(["u1", "u2", "u4", "i1", "i2", "i4", "i8"])
BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    OverflowError,
    MemoryError,
    RecursionError,
)


class _Name:
    """What an imported name stands for: a function of ours, or nothing to be called.

    Slots and no class attributes to set: the BUILD instruction may write to what it is given.
    """

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., object] | None) -> None:
        self.call = call

    def __call__(self, *arguments: object) -> object:
        if self.call is None:
            raise TypeError("not a function")
        return self.call(*arguments)


class _Dtype:
    __slots__ = ("code", "order")

    def __init__(self, code: object, *_flags: object) -> None:
        name = _text(code)
        if name not in DTYPES:
            raise TypeError(f"no integers: {name!r}")
        self.code, self.order = name, "|"

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.order = {"<": "<", ">": ">", "|": "|", "=": "="}[_text(state[1])]


class _Array:
    __slots__ = ("array",)

    def __init__(self, *_arguments: object) -> None:
        self.array: NDArray[np.integer] | None = None

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _version, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes) or not isinstance(shape, tuple):
            raise TypeError("not an array's state")
        flat = np.frombuffer(content, np.dtype(dtype.order + dtype.code))
        self.array = flat.reshape(shape, order="F" if fortran else "C")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> _Name:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _Name(_Array)
        if (module, name) == ("numpy", "ndarray"):
            return _Name(None)
        if (module, name) == ("numpy", "dtype"):
            return _Name(_Dtype)
        if (module, name) == ("_codecs", "encode"):
            return _Name(_encode_latin1)
        raise _ForbiddenNameError(f"{module}.{name}")


class _ForbiddenNameError(Exception):
    """A pickle asks for a name that is none of CIFAR's."""


def read_pickle(content: bytes, name: str) -> dict[str, Value]:
    """The dictionary that a CIFAR file holds; keys that are bytes become strings.

    Strings of Python 2 stay bytes.

    Raises: DataError (naming `name`) for anything else than such a dictionary, and before anything
    outside of it is imported or called.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd escapes in what is refused anyway
            _check_instructions(content)
            value = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(value, dict):
            raise TypeError("not a dictionary")
        return {_text(key): _plain(entry) for key, entry in value.items()}
    except _ForbiddenNameError as error:
        raise DataError(
            f"{name}: this pickle asks for {str(error)!r}, which no CIFAR file needs. Nothing was run; "
            "do not trust this file, take the official one."
        ) from None
    except BROKEN:
        raise DataError(
            f"{name}: expected a pickled dictionary of lists, strings, integers and integer arrays, "
            "as in the official CIFAR files, found something else. Take the official file."
        ) from None


def _check_instructions(content: bytes) -> None:
    """Refuse what would make the reader itself suffer: unknown instructions, huge memo numbers, and
    tuples that are referred to again (nested that way, their hash takes exponential time).
    """
    previous, memoized = "", 0
    tuples = set()
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name not in OPCODES:
            raise pickle.UnpicklingError(f"instruction {opcode.name}")
        if opcode.name in PUTS:
            memoized += 1
            number = memoized - 1 if argument is None else int(argument)
            if number > len(content):
                raise pickle.UnpicklingError("memo number out of range")
            if previous in TUPLES:
                tuples.add(number)
        elif opcode.name in GETS and int(argument or 0) in tuples:
            raise pickle.UnpicklingError("a tuple used again")
        else:
            previous = opcode.name


def _plain(value: object) -> Value:
    if isinstance(value, _Array):
        if value.array is None:
            raise TypeError("an array without content")
        return value.array
    if value is None or isinstance(value, list | dict | bytes | str | int):
        return value
    raise TypeError("a value of a kind that CIFAR does not hold")


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("ascii")
    if isinstance(value, str):
        return value
    raise TypeError("not a string")


def _encode_latin1(text: object, encoding: object) -> bytes:
    """How Python 3 writes bytes in the old protocols."""
    if not isinstance(text, str) or _text(encoding) != "latin1":
        raise TypeError("not bytes in disguise")
    return text.encode("latin1")
