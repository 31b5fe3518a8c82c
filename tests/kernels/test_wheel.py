"""A wheel carries the kernels: installing it takes no compiler. Built without one, it has PyTorch compute."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

import project_setup
from tiebreak import kernels

pytestmark = pytest.mark.skipif(not project_setup.variants(), reason="no kernels for this kind of processor")
has_compiler = any(map(shutil.which, ("c++", "g++", "clang++")))
needs_compiler = pytest.mark.skipif(not has_compiler, reason="needs GCC or Clang")


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of all that is built from, so that nothing is left in the project's own folder."""
    folder = tmp_path / "project"
    built = shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__")
    shutil.copytree(project_setup.ROOT / "src", folder / "src", ignore=built)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(project_setup.ROOT / name, folder)
    return folder


def python(*arguments: object, path: Path | None = None, cwd: Path | None = None) -> str:
    """What a process of this Python says. `path`: the only folder in which it finds programs."""
    env = os.environ | ({"PATH": str(path)} if path else {})
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def files_of_package(project: Path) -> set[str]:
    """What an installation needs beside the kernels: modules, recipes, parts of the page, small data."""
    source = project / "src"
    kept = [path for path in (source / "tiebreak").rglob("*") if path.is_file()]
    return {
        path.relative_to(source).as_posix() for path in kept if path.suffix not in (".cpp", ".hpp", ".so")
    }


def test_a_source_archive_holds_all_that_a_wheel_is_built_from_and_no_tests(project, tmp_path):
    python("setup.py", "-q", "sdist", "--dist-dir", tmp_path, cwd=project)
    (archive,) = tmp_path.glob("tiebreak-*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    sources = {path.relative_to(project).as_posix() for path in (project / "src").rglob("*.?pp")}
    assert {f"src/{name}" for name in files_of_package(project)} | sources | {"LICENSE", "README.md"} <= names
    assert not [name for name in names if name.startswith("tests")]


@needs_compiler
def test_an_installed_wheel_trains_with_kernels_and_no_compiler(project, tmp_path):
    pytest.importorskip("pip")
    python("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, project)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith("tiebreak-") and "-py3-none-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"tiebreak/kernels/_{name}.so" for name in project_setup.variants()} <= set(names)
    assert files_of_package(project) <= {name for name in names if name.startswith("tiebreak/")}
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"tiebreak"}

    venv = tmp_path / "venv"
    python("-m", "venv", "--without-pip", venv)
    interpreter = venv / "bin" / "python"
    python("-m", "pip", "--python", interpreter, "install", "--no-deps", "--no-index", wheel)
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")

    def run(*command: object) -> str:
        env = {"PATH": str(venv / "bin"), "HOME": str(tmp_path), "TIEBREAK_CACHE": str(tmp_path / "cache")}
        words = list(map(str, (interpreter, *command)))
        done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import tiebreak; print(tiebreak.__file__)").startswith(str(packages))
    options = ("--dataset", "digits", "--seeds", 1, "--epochs", 1, "--out", "study")
    run(venv / "bin/tiebreak", "compare", "linear", "cnn(width=16)", *options)
    (record,) = (tmp_path / "study").glob("runs/cnn*/seed-0/run.json")
    placement = json.loads(record.read_text())["placement"]
    assert placement["kernels"] == kernels.usable_variants()[-1]
    assert placement["winograd"]


def test_without_a_compiler_all_else_is_built_and_one_message_says_so(project, tmp_path):
    (tmp_path / "nothing").mkdir()
    said = python(
        "setup.py", "-q", "build_ext", "--build-lib", tmp_path, path=tmp_path / "nothing", cwd=project
    )
    (message,) = [line for line in said.splitlines() if "installed without" in line]
    assert "install GCC or Clang and install tiebreak again" in message
    assert not list(tmp_path.rglob("*.so"))
