"""The variants in which golden values are computed, the files that hold them, and how far two are apart."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
FOLDER = HERE / "values"
# An AVX2 processor as far as one with AVX-512 can play it; in this mode MKL rounds alike on all that can.
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}

# How far another processor, or another variant, may be from a golden value: 10 times what was seen (the
# sums of Winograd's algorithm against PyTorch's, carried through 22 steps of Adam).
TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2, "study": 1e-3}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What decides how numbers are computed, beside the processor."""

    kernels: str  # TIEBREAK_KERNELS
    avx2: bool = False

    def __str__(self) -> str:
        return f"{'avx2' if self.avx2 else 'native'}, kernels {self.kernels}"


VARIANTS = (
    Variant(kernels="on"),
    Variant(kernels="off"),
    Variant(kernels="avx2", avx2=True),
    Variant(kernels="off", avx2=True),
)
CAPABILITY = torch.backends.cpu.get_cpu_capability()


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Values, and what their last digits depend on."""

    key: dict[str, Any]
    values: dict[str, Any]

    @property
    def path(self) -> Path:
        """Where values with this key are kept."""
        format_ = "-bf16" if self.key["bf16"] else ""
        parts = [f"{self.key['instructions']}{format_}", f"kernels-{self.key['kernels']}"]
        parts += [f"torch-{self.key['torch']}", self.key["arithmetic"]]
        return FOLDER / f"{'_'.join(parts)}.json".lower()

    def write(self) -> None:
        text = json.dumps({"key": self.key, "values": self.values}, indent=1)
        self.path.write_text(text + "\n")


def compute(variant: Variant) -> Golden:
    """The values as the code in this folder's project gives them now, on this machine."""
    environment = os.environ | {"TIEBREAK_KERNELS": variant.kernels} | (AVX2 if variant.avx2 else {})
    command = [sys.executable, str(HERE / "golden_values.py")]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return Golden(**json.loads(done.stdout))


def read(path: Path) -> Golden:
    return Golden(**json.loads(path.read_text()))


def stored() -> list[Golden]:
    return [read(path) for path in sorted(FOLDER.glob("*.json"))]


def moved(golden: Golden, now: Golden) -> list[str]:
    """Every value that is not, digit for digit, what it was: where, what it was, what it is."""
    before, after = dict(leaves(golden.values)), dict(leaves(now.values))
    return [
        f"{place}: {before.get(place, 'nothing')} became {after.get(place, 'nothing')}"
        for place in before | after
        if place not in before or place not in after or before[place] != after[place]
    ]


def far(golden: Golden, now: Golden) -> list[str]:
    """Every loss and probability, in a precision that both have, that is not within TOLERANCE."""
    after = dict(leaves(now.values))
    away = []
    for place, was in leaves({part: golden.values[part] for part in golden.values if part in now.values}):
        if isinstance(was, float) and ("loss" in place or "probs" in place):
            now_is, tolerance = after.get(place), TOLERANCE[place.split(" / ")[0]]
            if not isinstance(now_is, float) or not abs(now_is - was) <= tolerance:
                away.append(f"{place}: {now_is} is not within {tolerance} of {was}")
    return away


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The numbers and texts of a JSON value with their places, such as "fp32 / cnn / losses / 3"."""
    if isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, f"{place} / {name}" if place else str(name))
    else:
        yield place, value
