"""A model's hash changes with its code and that of what it imports of its user's, and with nothing else."""

import sys
from pathlib import Path

import pytest

from tiebreak.errors import ModelError
from tiebreak.models import matched
from tiebreak.models.source import CATALOG, _reach, source_hash

NET = """
import torch
import helper
from package import part

def net(image_shape, num_classes):
    from package.sub.late import something
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(num_classes))
"""
FILES = {
    "net.py": NET,
    "helper.py": "from other import x\n",
    "other.py": "x = 1\n",
    "package/__init__.py": "",
    "package/part.py": "from . import neighbour\n",
    "package/neighbour.py": "from ..package import unseen\n",
    "package/sub/__init__.py": "",
    "package/sub/late.py": "something = 1\n",
    "package/unused.py": "never = 'imported'\n",
    "unused.py": "never = 'imported'\n",
}


def lay_out(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_file_counts_as_it_is_now(tmp_path: Path) -> None:
    text = f"{lay_out(tmp_path) / 'net.py'}:net"
    before = source_hash(text)
    assert source_hash(text) == before
    (tmp_path / "net.py").write_text(NET + "# another line\n")
    assert source_hash(text) != before


@pytest.mark.parametrize("name", [name for name in FILES if name != "net.py"])
def test_what_it_imports_counts_and_nothing_else(name: str, tmp_path: Path) -> None:
    here, there = lay_out(tmp_path / "here"), lay_out(tmp_path / "there")
    (there / name).write_text(FILES[name] + "changed = True\n")
    same = source_hash(f"{here / 'net.py'}:net") == source_hash(f"{there / 'net.py'}:net")
    assert same == ("unused" in name)


def test_neither_the_place_nor_the_end_of_lines_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = lay_out(tmp_path / "here"), lay_out(tmp_path / "there")
    for path in there.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    absolute = source_hash(f"{there / 'net.py'}:net")
    monkeypatch.chdir(here)
    assert source_hash("net.py:net") == absolute


def test_a_module_that_changed_since_it_was_imported_is_an_error(tmp_path: Path) -> None:
    text = f"{lay_out(tmp_path) / 'net.py'}:net"
    source_hash(text)
    (tmp_path / "other.py").write_text("x = 2\n")
    with pytest.raises(ModelError, match=r"other.py has changed since it was imported; start Python anew"):
        source_hash(text)


def test_a_module_is_followed_from_the_folder_of_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = []
    for name, constant in (("one", 1), ("two", 1), ("three", 3)):
        package = tmp_path / name / "mynets"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "nets.py").write_text("from mynets.parts import x\nfrom torch.nn import Linear as net\n")
        (package / "parts.py").write_text(f"x = {constant}\n")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / name)
            hashes.append(source_hash("mynets.nets:net"))
            for module in [module for module in sys.modules if module.startswith("mynets")]:
                del sys.modules[module]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_models_that_come_along_and_installed_ones_have_a_hash() -> None:
    hashes = {source_hash(name) for name in ("mlp", "mlp(hidden_dim=3)", "cnn", "torch.nn:Linear")}
    assert len(hashes) == 3  # arguments are no code


def test_a_built_in_model_is_its_own_file_and_what_it_matches() -> None:
    """Another model in the catalog is nothing to it; the one that it is to be as large as, is."""
    assert source_hash("mlp") != source_hash('mlp(match="cnn")') != source_hash('mlp(match="linear")')
    reached = {
        path.name for path in _reach(Path(matched.__file__), (Path(matched.__file__).parents[2],), CATALOG)
    }
    assert {"matched.py", "mlp.py"} <= reached and not reached & {"catalog.py", "cnn.py", "resnet.py"}


def test_what_was_typed_and_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("typed")
    module.net = eval("lambda: None")  # noqa: S307  # whose source nobody has
    monkeypatch.setitem(sys.modules, "typed", module)
    with pytest.raises(ModelError, match=r"typed:net: its source cannot be read, .* put it into a file"):
        source_hash("typed:net")
