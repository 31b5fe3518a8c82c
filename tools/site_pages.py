"""A hook of MkDocs: the pages of the site that do not lie in docs/, made from the code, notebooks and README.

`make docs` builds the site. The reference is written from what the code itself knows: commands and options,
keys of a study file from its schema and the comments beside them, Python from docstrings.
"""

import ast
import inspect
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import typer.main
from check_docs import FENCE, LINK
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer import core

import tiebreak
from tiebreak.cli.run_command import app
from tiebreak.study.plan import TABLES
from tiebreak.study.study_file import ContenderEntry, StudyFile

ROOT = Path(__file__).parents[1]
# index.md is the site's first page, and README.md would be taken for it.
RENAMED = {"README.md": "start.md"}
HEADINGS = {"": "At the top", "contenders": "`[[contenders]]`"}  # the others are plain tables


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference, the notebooks, and all that the pages link to outside docs/."""
    found = {f"docs/{file.src_uri}" for file in files.documentation_pages() if file.abs_src_path}
    waiting = sorted(found)
    while waiting:
        path = waiting.pop()
        new = linked(path) - found if path.endswith(".md") else set()
        found |= new
        waiting += sorted(new)
    made: dict[str, str | bytes] = {**reference()}
    for path in sorted(path for path in found if not path.startswith("docs/")):
        made |= pages_of(path)
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they lie in the repository become links of the site."""
    uri = page.file.src_uri
    in_docs = page.file.abs_src_path is not None
    path = f"docs/{uri}" if in_docs else {place: path for path, place in RENAMED.items()}.get(uri, uri)

    def moved(match: re.Match[str]) -> str:
        name, _, anchor = match[1].partition("#")
        target = target_of(path, name)
        if target is None:
            return match[0]
        place = posixpath.relpath(site_uri(target), posixpath.dirname(uri) or ".")
        return match[0].replace(match[1], f"{place}#{anchor}" if anchor else place)

    return LINK.sub(moved, markdown)


def target_of(path: str, link: str) -> str | None:
    """The file of the repository that a link in another file leads to; None where it leads elsewhere."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    return target if link and (ROOT / target).is_file() else None


def linked(path: str) -> set[str]:
    """The files of the repository that a page links to."""
    text = FENCE.sub("", (ROOT / path).read_text(encoding="utf-8"))
    targets = (target_of(path, link.partition("#")[0]) for link in LINK.findall(text))
    return {target for target in targets if target is not None}


def site_uri(path: str) -> str:
    """Where a file of the repository lies in the site."""
    if path.endswith(".ipynb"):
        return path.removesuffix(".ipynb") + ".md"
    return RENAMED.get(path, path.removeprefix("docs/"))


def pages_of(path: str) -> dict[str, str | bytes]:
    """The pages and files of the site that one file outside docs/ becomes: a notebook brings its pictures."""
    uri = site_uri(path)
    if not path.endswith(".ipynb"):
        return {uri: (ROOT / path).read_bytes()}
    notebook = nbformat.read(ROOT / path, as_version=4)
    text, resources = MarkdownExporter().from_notebook_node(notebook, {"unique_key": Path(path).stem})
    folder = posixpath.dirname(uri)
    pictures = {posixpath.join(folder, name): content for name, content in resources["outputs"].items()}
    return {uri: text, **pictures}


def reference() -> dict[str, str]:
    """The pages of the reference by their places."""
    return {
        "reference/commands.md": "# Commands\n\n" + "\n".join(command_lines()),
        "reference/study-file.md": "# The study file\n\n" + "\n".join(study_file_lines()),
        "reference/python.md": "# Python\n\n`import tiebreak as tb`\n\n" + "\n".join(python_lines()),
    }


def command_lines() -> Iterator[str]:
    """Every command with its arguments, options and example."""
    root = typer.main.get_command(app)
    context = typer.Context(root, info_name="tiebreak")
    yield from _commands(root, context)


def _commands(command: Any, context: Any) -> Iterator[str]:
    if isinstance(command, core.TyperGroup):
        for name, inner in command.commands.items():
            yield from _commands(inner, typer.Context(inner, info_name=name, parent=context))
        return
    yield f"## {context.command_path}\n"
    yield f"{command.help}\n"
    yield from table(
        ("argument or option", "value", "default", "meaning"),
        (_parameter(parameter, context) for parameter in command.params),
    )
    if command.epilog:
        word, _, example = re.sub(r"\[/?bold\]", "", command.epilog).partition(": ")
        yield f"{word}: `{example}`\n"


def _parameter(parameter: Any, context: Any) -> tuple[str, ...]:
    is_option = parameter.param_type_name == "option"
    names = [*parameter.opts, *parameter.secondary_opts] if is_option else [parameter.name.upper()]
    takes_value = not (is_option and parameter.is_flag)
    value = f"`{parameter.metavar or parameter.display_type(context)}`" if takes_value else ""
    default = parameter.get_default(context)
    said = default not in (None, False, ()) and not callable(default)
    return ", ".join(f"`{name}`" for name in names), value, f"`{default}`" if said else "", parameter.help


def study_file_lines() -> Iterator[str]:
    """Every key of a study file, table by table."""
    for name, model in {"": StudyFile, **TABLES, "contenders": ContenderEntry}.items():
        yield f"## {HEADINGS.get(name, f'`[{name}]`')}\n"
        yield f"{inspect.cleandoc(model.__doc__ or '')}\n"
        keys = (
            (f"`{key}`", f"`{kind}`", default_of(model, key), comment)
            for key, kind, comment in fields_of(model)
        )
        yield from table(("key", "value", "default", "meaning"), keys)


def fields_of(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    """Name, type and comment of each field, as they stand in the source."""
    source = inspect.getsource(model)
    lines = source.splitlines()
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if isinstance(node, ast.AnnAssign) and node.target.id in model.model_fields:  # type: ignore[union-attr]
            kind = node.annotation
            if isinstance(kind, ast.Subscript) and ast.unparse(kind.value) == "Annotated":
                kind = kind.slice.elts[0]  # type: ignore[attr-defined]
            written = " ".join(lines[node.lineno - 1 : node.end_lineno])
            comment = written.partition("  # ")[2]
            yield node.target.id, ast.unparse(kind), comment  # type: ignore[union-attr]


def default_of(model: type[BaseModel], key: str) -> str:
    default = model.model_fields[key].get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "needed"
    return "" if default is None or isinstance(default, BaseModel) else f"`{default!r}`"


def python_lines() -> Iterator[str]:
    """What `import tiebreak` gives; mkdocstrings fills in signature and docstring."""
    for name, module in tiebreak._PUBLIC.items():
        yield f"::: {module}.{name}\n"


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for row in (heads, ("---",) * len(heads), *rows):
        # In code a bar is no border of a cell, and a backslash before it would be seen.
        cells = (cell if cell.startswith("`") else cell.replace("|", "\\|") for cell in row)
        yield "| " + " | ".join(cells).replace("\n", " ") + " |"
    yield ""
