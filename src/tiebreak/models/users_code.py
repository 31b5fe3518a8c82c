"""A user's own model: imported as Python would, and what goes wrong in it told in his own words.

His modules are imported anew for each model, so that an edited file, or one of the same name in another
folder, is never answered for by an older one. What somebody else has imported stays as it is.
"""

import importlib
import importlib.util
import linecache
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from hashlib import sha256
from io import StringIO
from pathlib import Path
from types import ModuleType

from tiebreak.errors import ModelError, TiebreakError
from tiebreak.files import is_there

OUR_PACKAGE = str(Path(__file__).parents[1])
LIBRARIES = (OUR_PACKAGE, sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), "<")
PREFIX = "tiebreak_user_"  # of the names of modules that are single files
LONGEST, LONGEST_LINE = 300, 90  # characters of an exception's own words, and of a line of the user's

_imported: set[str] = set()  # modules that importing and building the last model added


@contextmanager
def in_folder_of(name: str) -> Iterator[None]:
    """Import inside the block as a program in the folder of `name` would: that folder comes first.

    `name`: `path/to/file.py:factory`, or `package.module:factory`, whose folder is the current one.
    """
    for module in _imported:
        sys.modules.pop(module, None)
    _imported.clear()
    importlib.invalidate_caches()
    source = name.rpartition(":")[0]
    folder = str(_package_root(Path(source).expanduser()) if source.endswith(".py") else Path.cwd())
    before, arguments = set(sys.modules), sys.argv
    sys.path.insert(0, folder)
    sys.argv = [source]  # its command line is not ours
    try:
        yield
    finally:
        sys.path.remove(folder)
        sys.argv = arguments
        new = set(sys.modules) - before
        _imported.update(module for module in new if _lies_in(module, folder))


def _lies_in(module: str, folder: str) -> bool:
    file = getattr(sys.modules[module], "__file__", None) or ""
    return module.startswith(PREFIX) or (file.startswith(folder + os.sep) and _is_users(file))


def import_users_module(source: str) -> ModuleType:
    """The module `path/to/file.py` or `package.module`; to be called `in_folder_of` it.

    Raises: ModelError if it is missing or cannot be imported, with the line that is to blame.
    """
    path = Path(source).expanduser().absolute()
    is_file = source.endswith(".py")
    what = source if is_file else f"The module {source!r}"
    if is_file and not is_there(path):
        raise ModelError(f"{path}: no such file. A model of your own is path/to/file.py:factory.")
    said = StringIO()  # a parser of arguments says what it misses before it leaves
    try:
        with redirect_stderr(said), users_code(f"{what} cannot be imported"):
            return _import_file(path) if is_file else importlib.import_module(source)
    except ModelError as error:
        if isinstance(error.__cause__, SystemExit) and (lines := said.getvalue().split("\n")):
            said = StringIO()
            raise ModelError(f"{error} {' '.join(lines).strip()}".strip()) from error.__cause__
        raise
    finally:
        sys.stderr.write(said.getvalue())


def _import_file(path: Path) -> ModuleType:
    root = _package_root(path)
    if root != path.parent:  # in a package it may import relatively
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        module = importlib.import_module(name)
        if not path.samefile(module.__file__ or os.devnull):
            raise ImportError(f"{name} is {module.__file__} here; rename one of the two")
        return module
    # A name of its own, as two folders may hold files of one name.
    name = f"{PREFIX}{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


def _package_root(path: Path) -> Path:
    """The folder from which Python would import a file: the first one above it that is no package."""
    return next(folder for folder in path.absolute().parents if not (folder / "__init__.py").is_file())


@contextmanager
def users_code(failing: str) -> Iterator[None]:
    """Turn whatever a user's code raises inside the block into one error: what fails, his words, the place.

    Raises: ModelError.
    """
    try:
        yield
    except TiebreakError:
        raise
    except SystemExit as leaving:
        raise ModelError(f"{failing}: it leaves by sys.exit({leaving.code!r}){_place(leaving)}.") from leaving
    except Exception as error:  # a user's code may raise anything; nothing is swallowed
        words = " ".join(str(error).split())
        words = f"{words[:LONGEST]}..." if len(words) > LONGEST else words
        kind = type(error).__name__
        raise ModelError(f"{failing}: {f'{kind}: {words}' if words else kind}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Where in the user's own code an exception comes from; nothing if that is nowhere in it."""
    if isinstance(error, SyntaxError) and error.filename:
        return _line(error.filename, error.lineno or 0)
    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _is_users(frame.f_code.co_filename)
    ]
    return _line(*frames[-1]) if frames else ""


def _is_users(file: str) -> bool:
    return not file.startswith(LIBRARIES) and "-packages" not in file


def _line(file: str, number: int) -> str:
    linecache.checkcache(file)
    text = linecache.getline(file, number).strip()
    short = f"{text[:LONGEST_LINE]}..." if len(text) > LONGEST_LINE else text
    relative = os.path.relpath(file)
    name = file if relative.startswith(os.pardir) else min(file, relative, key=len)
    return f" ({name}, line {number}: {short})" if text else f" ({name}, line {number})"
