"""A user's own files: found, imported and blamed as Python would."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tiebreak.errors import ModelError
from tiebreak.models.catalog import build_model
from tiebreak.rng import global_stream

NET = """
from torch import nn

def net(image_shape, num_classes, width=WIDTH):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, num_classes))
"""


def width_of(text: str) -> int:
    path, arguments = sys.path[:], sys.argv
    try:
        with global_stream(0, "init"):
            return build_model(text, (1, 8, 8), 3)[1].out_features
    finally:
        assert (sys.path, sys.argv) == (path, arguments)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def modules_as_they_were() -> Iterator[None]:
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:  # the last user's modules stay, for what they import later
        del sys.modules[name]


def test_a_dataclass_with_annotations_of_the_future(tmp_path: Path) -> None:
    path = write(
        tmp_path / "nets.py",
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Config:\n    width: int = 5\n" + NET.replace("WIDTH", "Config().width"),
    )
    assert width_of(f"{path}:net") == 5


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "nets.py", NET.replace("WIDTH", "6"))
    assert width_of("~/nets.py:net") == 6


@pytest.mark.parametrize("name", ["a=b.py", "my (old) nets.py", "with@at.py", "dots.in.name.py"])
def test_a_path_may_hold_what_separates_elsewhere(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "x (1)" / name, NET.replace("WIDTH", "2"))
    assert width_of(f"{path}:net(width=7)") == 7
    assert width_of(f"x (1)/{name}:net") == 2


def test_modules_of_the_current_folder_and_of_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mynets.py", NET.replace("WIDTH", "3"))
    write(tmp_path / "mypkg" / "__init__.py", "")
    write(tmp_path / "mypkg" / "sizes.py", "WIDTH = 4\n")
    write(tmp_path / "mypkg" / "nets.py", "from .sizes import WIDTH\n" + NET)
    assert width_of("mynets:net") == 3
    assert width_of("mypkg.nets:net") == 4
    assert width_of("mypkg/nets.py:net") == 4
    write(tmp_path / "mypkg" / "sizes.py", "WIDTH = 14  # edited\n")
    assert width_of("mypkg.nets:net") == 14


def test_a_file_imports_its_neighbours_and_never_those_of_another_folder(tmp_path: Path) -> None:
    for number, folder in ((3, "one"), (4, "two")):
        write(tmp_path / folder / "sizes.py", f"WIDTH = {number}\n")
        write(tmp_path / folder / "nets.py", "from sizes import WIDTH\n" + NET)
    late = NET.replace("width=WIDTH):", "width=0):\n    from sizes import WIDTH as width")
    write(tmp_path / "one" / "late.py", late)
    texts = [f"{tmp_path / folder / 'nets.py'}:net" for folder in ("one", "two", "one")]
    assert [width_of(text) for text in texts] == [3, 4, 3]
    assert width_of(f"{tmp_path / 'one' / 'late.py'}:net") == 3


def test_a_module_that_somebody_else_imported_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path / "theirs.py", NET.replace("WIDTH", "3"))
    import theirs  # type: ignore[import-not-found]

    assert width_of("theirs:net") == 3
    assert sys.modules["theirs"] is theirs


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "import torch\n\nraise RuntimeError('no luck')\n",
            "RuntimeError: no luck (nets.py, line 3: raise",
        ),
        ("open('weights.pt')\n", "No such file or directory: 'weights.pt' (nets.py, line 1: open('weig"),
        ("import sys\nsys.exit('bye')\n", "it leaves by sys.exit('bye') (nets.py, line 2: sys.exit('bye'))."),
        ("def f(:\n    pass\n", "SyntaxError: invalid syntax (nets.py, line 1) (nets.py, line 1: def f(:)"),
        ("class Own(Exception): ...\nraise Own\n", "cannot be imported: Own (nets.py, line 2: raise Own)"),
        (
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('size')\np.parse_args()\n",
            "the following arguments are required: size",
        ),
    ],
)
def test_what_an_import_does_wrong_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "nets.py", code)
    with pytest.raises(ModelError) as caught:
        width_of("nets.py:net")
    assert words in str(caught.value)
    assert str(caught.value).startswith("nets.py cannot be imported: ")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == "", "nothing is said as if it were ours"


def test_a_command_line_is_not_read_by_a_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["tiebreak", "compare", "--epochs", "3"])
    code = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--width', default=9)\n"
    path = write(tmp_path / "nets.py", code + "WIDTH = p.parse_args().width\n" + NET)
    assert width_of(f"{path}:net") == 9


def test_two_packages_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write(tmp_path / folder / "json" / "__init__.py", "")
        write(tmp_path / folder / "json" / "nets.py", NET.replace("WIDTH", "3"))
    with pytest.raises(ModelError, match=r"cannot be imported: .*json"):
        width_of(f"{tmp_path / 'one' / 'json' / 'nets.py'}:net")  # the standard library's json is in the way


def test_a_users_generators_are_those_of_the_run(tmp_path: Path) -> None:
    draw = "import random\nimport numpy as np\nimport torch\nfrom torch import nn\n"
    draw += "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    draw += "        self.drawn = (random.random(), float(np.random.rand()), float(torch.rand(())))\n"
    draw += "        self.fc = nn.Linear(64, 3)\n"
    draw += "    def forward(self, x):\n        return self.fc(x.flatten(1))\n"
    path = write(tmp_path / "nets.py", draw)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    drawn = []
    for seed in (0, 0, 3):
        with global_stream(seed, "init"):
            drawn.append(build_model(f"{path}:Net", (1, 8, 8), 3).drawn)
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[0], drawn[2], strict=True))
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    assert after == before
