"""Builds the kernels; all else about the package stands in pyproject.toml.

Each variant is the same sources compiled for other instructions, a plain shared library beside
kernels/library.py, which chooses one when the program runs. Where there is no compiler (GCC or Clang), the
package is installed without them, and PyTorch computes.

    python setup.py build_ext --inplace     # what an editable install does, for a clone that has one
"""

import hashlib
import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

KERNELS = Path("src/tiebreak/kernels")
# Without contraction a product is rounded before it is added to, as PyTorch does it; a kernel that wants it
# otherwise says so. No warnings: who installs can do nothing about them, and GCC's are about its own headers.
FLAGS = ["-std=c++17", "-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-w"]
# By processor, from the least to the most instructions; the order is that of processor.cpp and library.py.
VARIANTS = {
    "x86_64": {
        "baseline": [],
        "avx2": ["-march=x86-64-v3"],
        "avx512": ["-march=x86-64-v4"],
        "avx512_bf16": ["-march=x86-64-v4", "-mavx512bf16"],
    },
    "aarch64": {"neon": []},
}
PROCESSORS = {"amd64": "x86_64", "arm64": "aarch64"}  # other names of the same


def variants() -> dict[str, list[str]]:
    """The variants for this machine's processor, and their flags."""
    machine = platform.machine().lower()
    return VARIANTS.get(PROCESSORS.get(machine, machine), {})


def sources(folder: Path = KERNELS) -> list[Path]:
    """What a library is compiled from, headers left out."""
    return sorted(folder.glob("*.cpp"))


def made_of(folder: Path = KERNELS) -> str:
    """A digest of all sources, by which a test knows libraries that were made of others."""
    files = sorted([*folder.glob("*.cpp"), *folder.glob("*.hpp")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def flags(variant: list[str], folder: Path = KERNELS) -> list[str]:
    """All that the compiler is told."""
    return [*FLAGS, *variant, f'-DSOURCES="{made_of(folder)}"']


class BuildKernels(build_ext):
    """Plain libraries, not modules; those that cannot be built are left out, in one message."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split(".")).with_suffix(".so"))

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return ext.export_symbols  # no PyInit

    def build_extensions(self) -> None:
        missing: dict[str, BaseError] = {}
        for extension in self.extensions:  # in turn: all of them write the same object files
            try:
                self.build_extension(extension)
            except (CCompilerError, BaseError) as error:
                missing[extension.name.rpartition("_")[2]] = error
        if missing:
            self.warn(
                f"tiebreak is installed without compiled kernels for {', '.join(missing)} "
                f"({next(iter(missing.values()))}). PyTorch computes in their place, slower; to have them, "
                "install GCC or Clang and install tiebreak again."
            )


class PlatformWheel(bdist_wheel):
    """For one platform, but any Python: the libraries do not know it."""

    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2])


if __name__ == "__main__":
    setup(
        ext_modules=[
            Extension(
                f"tiebreak.kernels._{name}",
                [str(source) for source in sources()],
                depends=["setup.py", *map(str, KERNELS.glob("*.hpp"))],
                extra_compile_args=flags(instructions),
                extra_link_args=["-s"],
                language="c++",
                optional=True,
            )
            for name, instructions in variants().items()
        ],
        cmdclass={"build_ext": BuildKernels, "bdist_wheel": PlatformWheel},
    )
