"""The same training by the tools people would use instead, each in an environment that this script makes.

    python benchmarks/peers/run.py --threads 2 --rounds 5 --out benchmarks/peers.md

Work: random images of CIFAR-10's size in memory, the same two architectures, Adam, batch size 128, cross
entropy, training loss and accuracy recorded; epochs after the first are timed by the tool's own hooks. Tools
take turns. Environments lie in benchmarks/peers/.venvs; packages come from where pip is configured to look.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from table_file import forced_processor

from tiebreak.study.environment import processor_name

HERE = Path(__file__).resolve().parent
TORCH = "torch==2.13.0"
MODELS = ("mlp", "cnn")


@dataclass(frozen=True, kw_only=True)
class Peer:
    script: str
    packages: tuple[str, ...]  # empty: tiebreak's own environment
    side_by_side: bool = False  # as many runs at once as threads, each with one, instead of one run with all


PEERS = {
    "case study's loop": Peer(script="plain.py", packages=()),
    "Lightning": Peer(script="with_lightning.py", packages=(TORCH, "lightning")),
    "skorch": Peer(script="with_skorch.py", packages=(TORCH, "skorch")),
    "ictonyx": Peer(script="with_ictonyx.py", packages=(TORCH, "ictonyx")),
    "Keras on JAX": Peer(script="with_keras.py", packages=("keras", "jax")),
    "tiebreak fp32": Peer(script="with_tiebreak.py", packages=()),
    "tiebreak fp32, side by side": Peer(script="with_tiebreak.py", packages=(), side_by_side=True),
    "tiebreak bf16": Peer(script="with_tiebreak.py", packages=()),
    "tiebreak bf16, side by side": Peer(script="with_tiebreak.py", packages=(), side_by_side=True),
}
BASE = "case study's loop"


def python_of(name: str, peer: Peer) -> Path:
    """The interpreter of the peer's environment, which is made if it is not there yet."""
    if not peer.packages:
        return Path(sys.executable)
    folder = HERE / ".venvs" / name.lower().replace(" ", "-")
    python = folder / "bin" / "python"
    if not (folder / "complete").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *peer.packages], check=True)
        (folder / "complete").touch()
    return python


def version_of(python: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run(
        [str(python), "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def images_a_second(name: str, model: str, threads: int, epochs: int, images: int) -> float:
    """In the median epoch, the first left out, in a process of its own; summed over runs side by side.

    Raises: SystemExit if the tool fails or trains another architecture.
    """
    peer = PEERS[name]
    copies, each = (threads, 1) if peer.side_by_side else (1, threads)
    settings = {"model": model, "threads": each, "epochs": epochs + 1, "images": images, "variant": name}
    environment = os.environ | {"OMP_NUM_THREADS": str(each), "KERAS_BACKEND": "jax"}
    if "Keras" in name and threads == 1:
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    command = [str(python_of(name, peer)), str(HERE / peer.script), json.dumps(settings)]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=HERE)
        for _ in range(copies)
    ]
    rate = 0.0
    for process in processes:
        out, error = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"{name} failed:\n{error[-2000:]}")
        told = json.loads(out.strip().splitlines()[-1])
        if told["params"] != {"mlp": 1_578_506, "cnn": 60_362}[model]:
            raise SystemExit(f"{name} trained another {model}: {told['params']} parameters")
        rate += images / median(told["seconds"][1:])
    return rate


def table(model: str, precision: str, rates: dict[str, list[float]]) -> list[str]:
    """Rates are images a second, by round; the last columns are of tiebreak in that precision."""
    alone = f"tiebreak {precision}"
    lines = [
        f"## {model}",
        "",
        "| tool | images/s | lowest to highest | times the case study's loop "
        f"| {alone} is faster by | side by side by |",
        "| --- | ---: | --- | --- | --- | --- |",
    ]
    for name, found in rates.items():
        columns = [
            ratios(found, rates[BASE]),
            ratios(rates[alone], found),
            ratios(rates[f"{alone}, side by side"], found),
        ]
        lines.append(
            f"| {name} | {median(found):,.0f} | {min(found):,.0f} to {max(found):,.0f} "
            f"| {' | '.join(columns)} |"
        )
    return [*lines, ""]


def ratios(rates: list[float], base: list[float]) -> str:
    """Median and range of the ratios within rounds."""
    found = sorted(rate / of_base for rate, of_base in zip(rates, base, strict=True))
    return f"{median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2, help="that are timed in each round")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16", help="to compare peers with")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/peers.md"))
    arguments = parser.parse_args()
    versions = [
        f"{package} {version_of(python_of(name, peer), package.partition('==')[0])}"
        for name, peer in PEERS.items()
        for package in (package.partition("==")[0] for package in peer.packages)
    ]
    names = [name for name in PEERS if arguments.precision == "bf16" or "bf16" not in name]
    rates: dict[str, dict[str, list[float]]] = {
        model: {name: [] for name in names} for model in arguments.models
    }
    for turn in range(arguments.rounds):
        for model in arguments.models:
            for name in names[:: 1 if turn % 2 == 0 else -1]:
                work = (arguments.threads, arguments.epochs, arguments.images)
                rates[model][name].append(rate := images_a_second(name, model, *work))
                print(turn, model, name, f"{rate:,.0f} images/s", file=sys.stderr, flush=True)
    lines = [
        "# The same work by other tools",
        "",
        f"Command: `{forced_processor()}python benchmarks/peers/run.py {shlex.join(sys.argv[1:])}`",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}; {processor_name()}, {os.cpu_count()} cores; {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}; {', '.join(sorted(set(versions)))}. "
        f"{arguments.threads} threads, {arguments.images:,} random images of 3 x 32 x 32 in memory, batch "
        f"size 128. Side by side: {arguments.threads} runs at once, one thread each, together. Tools "
        f"take turns; medians of {arguments.rounds} rounds, ratios within a round.",
        "",
        *(line for model, found in rates.items() for line in table(model, arguments.precision, found)),
    ]
    arguments.out.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
