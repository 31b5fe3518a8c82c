"""Whole commands on real images: what a person gets, what a machine gets, and that it repeats."""

import hashlib
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

from tiebreak.kernels import kernel_variant

SMALL = ("linear", "mlp(hidden_dim=16)", "--dataset", "digits", "--seeds", 2, "--epochs", 2)


def content(folder: Path, pattern: str) -> dict[str, str]:
    """The hash of each file below a folder."""
    paths = sorted(folder.rglob(pattern))
    assert paths, f"no {pattern} in {folder}"
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_compare_shows_progress_table_verdict_and_where_the_study_is(tiebreak, tmp_path):
    done = tiebreak("compare", *SMALL, "--out", "study")
    assert done.status == 0, done.stderr
    epoch = r"Epoch 0\d \| train loss \d\.\d{4} acc 0\.\d{4} \| val loss \d\.\d{4} acc 0\.\d{4}"
    assert len(re.findall(rf"^{epoch}$", done.stdout, re.MULTILINE)) == 2 * 2 * 2
    assert "mlp(hidden_dim=16)" in done.stdout
    assert re.search(
        r"^undecided: 2 seeds cannot tell; .+ \(2 paired seeds, \d+ test images\)", done.stdout, re.M
    )
    assert "This holds for this recipe (2 epochs, Adam, lr 0.001, tuned for neither); " in done.stdout
    assert "study" in done.stdout.splitlines()[-1]
    for name in ("comparison", "history-linear", "history-mlp(hidden_dim=16)"):
        assert (tmp_path / "study" / "figures" / f"{name}.svg").stat().st_size > 1000
        with Image.open(tmp_path / "study" / "figures" / f"{name}.png") as picture:
            assert picture.width > 1000


def test_the_version_is_the_installed_one(tiebreak):
    done = tiebreak("--version")
    assert (done.status, done.stdout) == (0, f"tiebreak {metadata.version('tiebreak')}\n")


def test_about_says_what_computes(tiebreak):
    done = tiebreak("--about")
    first, second = done.stdout.splitlines()
    names = f"tiebreak {metadata.version('tiebreak')}, PyTorch {metadata.version('torch')}"
    assert done.status == 0
    assert first.startswith(names.partition("+")[0])
    variant = kernel_variant()
    assert second.startswith(f"kernels: {variant} (convolution in float32" if variant else "kernels: none")


def test_a_command_of_its_own_gives_the_bytes_of_one_in_this_process(tiebreak, tmp_path):
    """In a process of its own its workers are forks of a server that was started with it."""
    # In folders of their own: beside each other, one would use the runs of the other.
    study = [*map(str, SMALL), "--out"]
    alone = subprocess.run([sys.executable, "-m", "tiebreak", "compare", *study, "alone/study"], cwd=tmp_path)
    assert alone.returncode == 0
    assert tiebreak("compare", *study, "here/study").status == 0
    for pattern in ("predictions.npz", "weights.safetensors"):
        assert content(tmp_path / "alone", pattern) == content(tmp_path / "here", pattern)


def test_a_reader_that_leaves_ends_the_command_without_a_word():
    command = [sys.executable, "-m", "tiebreak", "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_without_arguments_the_help_is_all_that_is_said(tiebreak):
    done = tiebreak()
    assert done.status == 2
    assert "compare" in done.stdout and done.stderr == ""


def test_json_is_the_last_line_and_holds_what_is_promised(tiebreak):
    done = tiebreak("compare", *SMALL, "--json")
    answer = json.loads(done.stdout.splitlines()[-1])
    assert Path(answer["study"]).is_dir()
    linear = answer["contenders"]["linear"]
    assert linear["params"] == 64 * 10 + 10
    assert linear["flops"] == 2 * 64 * 10
    for quantity in ("val_acc", "test_acc"):
        values = linear[quantity]["values"]
        assert len(values) == 2
        assert linear[quantity]["mean"] == pytest.approx(sum(values) / 2)
        assert linear[quantity]["sd"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
        assert 0 <= linear[quantity]["mean"] <= 1
    assert len(linear["train_seconds"]) == 2
    assert min(linear["train_seconds"]) > 0
    [pair] = answer["comparisons"]
    means = {label: entry["test_acc"]["mean"] for label, entry in answer["contenders"].items()}
    assert pair["difference"] == pytest.approx(means[pair["a"]] - means[pair["b"]])
    assert pair["ci_low"] <= pair["difference"] <= pair["ci_high"]
    assert pair["verdict"] == "undecided"  # two seeds of two epochs


def test_the_same_study_twice_is_the_same_to_the_byte(tiebreak, tmp_path):
    for out in ("one/study", "two/study"):
        assert "Epoch 02" in tiebreak("compare", *SMALL, "--out", out).stdout
    for pattern in ("predictions.npz", "weights.safetensors", "*.png", "*.svg"):
        assert content(tmp_path / "one", pattern) == content(tmp_path / "two", pattern)


def test_what_cannot_be_drawn_is_a_note_beside_the_verdict(tiebreak, monkeypatch):
    def fails(*_: object) -> None:
        raise RuntimeError("no\nink")

    monkeypatch.setattr("tiebreak.report.figures.curves.save_figure", fails)
    done = tiebreak("compare", *SMALL, "--json")
    assert done.status == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["comparisons"]
    assert "figures could not be drawn: no ink." in answer["notes"]
    assert "Note: figures could not be drawn: no ink." in done.stderr
    assert "figures could not be drawn: no ink." in (Path(answer["study"]) / "report.html").read_text()


def test_asking_again_trains_nothing_and_says_the_same(tiebreak, tmp_path):
    first = tiebreak("compare", *SMALL, "--json")
    before = content(tmp_path, "run.json")
    again = tiebreak("compare", *SMALL, "--json")
    assert "Epoch" not in again.stderr
    assert content(tmp_path, "run.json") == before
    assert again.stdout == first.stdout


def test_a_study_file_gives_the_study_of_the_command_line(tiebreak, tmp_path):
    (tmp_path / "s.toml").write_text(
        'contenders = ["linear", "mlp(hidden_dim=16)"]\nseeds = 2\n'
        '[data]\nname = "digits"\n[recipe]\nepochs = 2\n[execution]\ndevice = "cpu"\n'
    )
    by_file = tiebreak("run", "s.toml", "--json")
    by_line = tiebreak("compare", *SMALL, "--json")
    assert by_line.stdout == by_file.stdout


def test_report_needs_neither_data_nor_model(tiebreak, tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\ndef tiny(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    made = tiebreak("compare", "linear", "own.py:tiny", *SMALL[2:], "--out", "study", "--json")
    assert made.status == 0, made.stderr
    (tmp_path / "own.py").unlink()
    monkeypatch.setenv("TIEBREAK_CACHE", str(tmp_path / "nothing"))
    (tmp_path / "moved").mkdir()
    moved = (tmp_path / "study").rename(tmp_path / "moved" / "study")
    monkeypatch.setenv("BROWSER", "false")  # a program that fails
    monkeypatch.delitem(sys.modules, "webbrowser", raising=False)
    reported = tiebreak("report", moved, "--json", "--open")
    assert reported.status == 0, reported.stderr
    assert reported.stderr.endswith(f"No browser can be opened here; the page is {moved / 'report.html'}\n")
    before, after = json.loads(made.stdout.splitlines()[-1]), json.loads(reported.stdout)
    assert after["contenders"] == before["contenders"]
    assert after["comparisons"] == before["comparisons"]


def test_anatomy_walks_through_a_step(tiebreak):
    done = tiebreak("anatomy", "cnn", "--dataset", "digits", "--batch-size", 32)
    assert done.status == 0
    for text in (
        "Zero gradients",
        "Forward",
        "Loss",
        "Backward",
        "Update",
        "features.0.weight",
        "32 x 32 x 8 x 8",
    ):
        assert text in done.stdout
    before, after = re.findall(r"^(\d\.\d{4}) -> (\d\.\d{4})", done.stdout, re.MULTILINE)[0]
    assert float(after) < float(before)


def test_models_and_data_are_listed_and_shown(tiebreak):
    models = tiebreak("models", "cnn(width=3)")
    assert "407,050" in models.stdout
    assert "cnn(width=3)" in models.stdout
    small = tiebreak("models", "--dataset", "digits")
    assert small.status == 0, small.stderr
    assert "airnet needs images of at least 16x16 pixels, got 8x8." in " ".join(small.stdout.split())
    refused = tiebreak("models", "airnet(width=9)", "--dataset", "digits")
    assert refused.status == 2 and "airnet needs images of at least 16x16 pixels" in refused.stderr
    listed = tiebreak("data", "list").stdout
    assert all(name in listed for name in ("fashion-small", "cifar10", "folder:PATH", "arrays:FILE.npz"))
    shown = tiebreak("data", "show", "digits")
    assert "1 x 8 x 8" in shown.stdout
    assert "fingerprint" in shown.stdout


def test_help_needs_no_torch():
    # Looked at, not timed: importing torch is what would make it slow.
    code = "import sys; sys.argv = ['tiebreak', '--help']\n" + (
        "from tiebreak.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


def test_a_diverging_run_fails_and_the_others_go_on(tiebreak, tmp_path):
    (tmp_path / "s.toml").write_text(
        'contenders = ["linear", {label = "wild", model = "mlp", recipe = {lr = 1e38, optimizer = "sgd"}}]\n'
        'seeds = 2\n[data]\nname = "digits"\n[recipe]\nepochs = 2\n'
    )
    done = tiebreak("run", "s.toml", "--out", "study")
    assert done.status == 1
    assert re.search(r"^Note: wild is not judged: all 2 runs failed \(", done.stdout, re.M)
    assert re.search(r"^linear +\d\d\.\d", done.stdout, re.M)
    assert (tmp_path / "study" / "report.html").is_file()
    again = tiebreak("report", "study", "--json")
    assert again.status == 1
    assert json.loads(again.stdout)["without_runs"]["wild"]["failed"].keys() == {"0", "1"}
    runs = [json.loads(path.read_text()) for path in (tmp_path / "study").rglob("run.json")]
    assert sorted(run["status"] for run in runs) == ["failed", "failed", "finished", "finished"]
