"""How long `tiebreak compare` takes to its first training step, and how much memory a run takes.

    python benchmarks/start_up.py --data-dir FOLDER --repeats 5 --out benchmarks/start_up.md

From the start of the process to the first forward pass in training mode, on CIFAR-10 that is prepared
already; beside it the time of `import torch` alone. Memory is the largest resident set of any process of the
study.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from table_file import write_table

MODEL = """
import os, pathlib, time
from tiebreak.models.cnn import SimpleCNN

class Noting(SimpleCNN):
    def forward(self, images):
        note = pathlib.Path(os.environ["FIRST_STEP"])
        if self.training and not note.exists():
            note.write_text(str(time.time()))
        return super().forward(images)
"""


def seconds_to_first_step(data_dir: Path) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.py").write_text(MODEL)
        command = [sys.executable, "-m", "tiebreak", "compare", f"{folder}/model.py:Noting", "mlp"]
        command += ["--dataset", "cifar10", "--data-dir", str(data_dir), "--seeds", "1", "--epochs", "1"]
        environment = os.environ | {"FIRST_STEP": str(folder / "first_step")}
        started = time.time()
        subprocess.run(
            [*command, "--out", str(folder / "study")], check=True, capture_output=True, env=environment
        )
        return float((folder / "first_step").read_text()) - started


def seconds_of_import() -> float:
    started = time.time()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.time() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="that holds cifar-10-batches-bin")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/start_up.md"))
    arguments = parser.parse_args()
    seconds_to_first_step(arguments.data_dir)  # prepares the data set, and fills the system's file cache
    first_steps, imports = [], []
    for _ in range(arguments.repeats):
        imports.append(seconds_of_import())
        first_steps.append(seconds_to_first_step(arguments.data_dir))
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6  # Linux counts in KiB
    rows = [("first training step of `compare`", first_steps), ("`import torch` alone", imports)]
    lines = [
        "| seconds to | median | lowest | highest |",
        "| --- | ---: | ---: | ---: |",
        *(f"| {name} | {median(of):.2f} | {min(of):.2f} | {max(of):.2f} |" for name, of in rows),
        "",
        f"The largest resident set of any process of these studies, `mlp` and `cnn` on CIFAR-10: "
        f"{megabytes:,.0f} MB.",
    ]
    write_table(arguments.out, "Start and memory", f"{arguments.repeats} repeats.", lines)


if __name__ == "__main__":
    main()
