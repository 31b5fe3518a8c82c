"""The little language of the command line: `name`, `name(4)`, `name(width=64, mode="fast")`.

Models, input transforms and data sets are all named this way. Arguments are literals (numbers,
strings, True, False, None, tuples, lists, dicts of these) and are never evaluated as code.
"""

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from tiebreak.errors import TiebreakError

MAX_LENGTH = 1_000  # keeps Python's parser away from text that would exhaust it
OPENING, CLOSING = "([{", ")]}"
# The name of a file's function. In the path before it may stand what else separates: = @ ( ) and spaces.
IN_FILE = re.compile(r"[^'\"]*?\.py:[^\W\d]\w*")


@dataclass(frozen=True)
class Call:
    """A name with literal arguments."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        arguments = [*map(repr, self.args), *(f"{key}={value!r}" for key, value in self.kwargs.items())]
        return f"{self.name}({', '.join(arguments)})" if arguments else self.name


def parse_call(text: str, error: type[TiebreakError]) -> Call:
    """Read `name` or `name(arguments)`; the name is everything before the first parenthesis.

    `path/to/file.py:name` is a name too, whatever its path holds, quotes apart.

    Raises: `error`, in one line, if parentheses do not match or an argument is not a literal.
    """
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise error(f"A name with its arguments has at most {MAX_LENGTH} characters, got {len(text)}.")
    in_file = IN_FILE.match(text)
    start = in_file.end() if in_file else 0
    name, parenthesis, rest = text[start:].partition("(")
    name = (text[:start] + name).strip()
    if not name or not name.isprintable():
        raise error(f"Expected a name such as cnn or cnn(width=64), got {text!r}.")
    if not parenthesis:
        return Call(name)
    if not rest.endswith(")"):
        raise error(f"{text!r}: the parenthesis after {name!r} is not closed at the end.")
    try:
        tree = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            raise ValueError("not one call")
        args = tuple(ast.literal_eval(argument) for argument in tree.args)
        kwargs = {keyword.arg or "**": ast.literal_eval(keyword.value) for keyword in tree.keywords}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise error(
            f"{text!r}: arguments must be literals such as 64, 0.5, 'text' or (3, 5), as in {name}(width=64)."
        ) from None
    if "**" in kwargs:
        raise error(f"{text!r}: write each argument as key=value; ** is not understood.")
    return Call(name, args, kwargs)


def split_top_level(text: str, separator: str) -> list[str]:
    """Split at a separator character wherever it stands outside brackets, quotes and the path of a file."""
    parts, depth, quote, start = [], 0, "", 0
    in_file = IN_FILE.match(text)
    path_ends = in_file.end() if in_file else 0
    for position, character in enumerate(text):
        if position < path_ends:
            continue
        if quote:
            if character == quote and text[position - 1] != "\\":
                quote = ""
        elif character in "'\"":
            quote = character
        elif character in OPENING:
            depth += 1
        elif character in CLOSING:
            depth -= 1
        elif character == separator and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]
