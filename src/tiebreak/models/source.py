"""What a model's code consists of, as one hash: with other code, a run of the same name is another run."""

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from tiebreak.calls import parse_call
from tiebreak.errors import ModelError
from tiebreak.models import catalog
from tiebreak.models.catalog import BUILTIN, find_factory

CATALOG = Path(catalog.__file__).resolve()
INSTALLED = frozenset(("site-packages", "dist-packages"))  # folders of packages that their user did not write

_imported: dict[Path, bytes] = {}  # what a user's modules held when this process first looked at them


def source_hash(text: str) -> str:
    """SHA-256 over the files that hold a model's code, in hexadecimal; the same on any machine.

    These are the file of its factory and what this imports, directly or not, of the files beside it (of a
    package: beside the package) and in the current folder. An installed package counts by its version.

    Raises: ModelError if there is no such model, its source cannot be read, or a module has changed since
    this process imported it.
    """
    name = parse_call(text, ModelError).name
    module_name = name.rpartition(":")[0]
    if module_name.endswith(".py"):
        start = Path(module_name).expanduser().resolve()
        # The file itself is run anew for each model; what it imports is not.
        return _hash_files(_reach(start, (start.parent, Path.cwd())), fresh=start)
    factory = find_factory(name)
    module = sys.modules[factory.__module__ if name in BUILTIN else module_name]
    if not getattr(module, "__file__", None):  # typed into an interpreter
        return _hash([("", _typed_source(text, factory))])
    start = Path(str(module.__file__)).resolve()
    if INSTALLED & set(start.parts):
        return _hash([(_version(module.__name__), start.read_bytes())])
    beside = start.parents[module.__name__.count(".") + (start.name == "__init__.py")]
    if name not in BUILTIN:
        return _hash_files(_reach(start, (beside, Path.cwd())))
    own = _hash_files(path for path in _reach(start, (beside,), CATALOG) if path.parent == start.parent)
    # A model that is made to match another one depends on that, too, but not on all that the catalog lists.
    match = parse_call(text, ModelError).kwargs.get("match")
    return _hash([("", f"{own} {source_hash(match)}".encode())]) if isinstance(match, str) else own


def _hash_files(files: Iterable[Path], fresh: Path | None = None) -> str:
    contents = []
    for path in files:
        content = path.read_bytes().replace(b"\r\n", b"\n")
        if path != fresh and _imported.setdefault(path, content) != content:
            raise ModelError(
                f"{path} has changed since it was imported; start Python anew to use it as it is."
            )
        contents.append((path.name, content))
    return _hash(contents)


def _hash(contents: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(contents):
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def _reach(start: Path, places: Sequence[Path], without: Path | None = None) -> list[Path]:
    """The file and all that it imports, directly or not, from the places; but for one file."""
    found = [start]
    for path in found:  # which grows meanwhile
        for imported in _imports(_import_statements(path.read_bytes()), path, places):
            if imported not in (*found, without):
                found.append(imported)
    return found


@lru_cache(maxsize=1_000)  # a study asks about the same files for each of its runs
def _import_statements(content: bytes) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Those of a module, wherever they stand."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return ()  # imported by nobody so far, else we had heard of it
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def _imports(
    statements: Iterable[ast.Import | ast.ImportFrom], path: Path, places: Sequence[Path]
) -> Iterator[Path]:
    """The files in the places that a module's import statements name."""
    for node in statements:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(alias.name, places)
        else:
            start = path.parents[node.level - 1 : node.level] if node.level else places
            for alias in node.names:
                # Of a package, what is imported may be a module or not.
                yield from _files_of(".".join(filter(None, (node.module, alias.name))), start)


def _files_of(name: str, places: Sequence[Path]) -> Iterator[Path]:
    """The files of a module and of the packages that it lies in."""
    parts = name.split(".")
    for place in places:
        for count in range(1, len(parts) + 1):
            module = place.joinpath(*parts[:count])
            for path in (module.with_name(f"{module.name}.py"), module / "__init__.py"):
                if path.is_file():
                    yield path.resolve()


def _version(module_name: str) -> str:
    package = module_name.partition(".")[0]
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _typed_source(text: str, factory: object) -> bytes:
    try:
        return inspect.getsource(factory).encode()  # type: ignore[arg-type]
    except (OSError, TypeError):
        raise ModelError(
            f"{text}: its source cannot be read, so a change of it would go unseen; put it into a file."
        ) from None
