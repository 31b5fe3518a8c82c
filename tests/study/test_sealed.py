"""A study folder does not take damage without a word: files have checksums, and what can be is computed."""

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from small_study import RUN, TEST, some_result

from forged import edit_bytes, edit_json
from tiebreak.actions.judge import judge
from tiebreak.actions.keep import keep_inside
from tiebreak.actions.live_models import read_weights
from tiebreak.actions.report import write_report
from tiebreak.errors import CheckpointError, StudyError
from tiebreak.report.page.sheet import keep_sheet, read_sheet
from tiebreak.report.text.explained import read_explanation
from tiebreak.results.run import accuracy, mean_loss
from tiebreak.sealed import write_sealed
from tiebreak.study.driver import run_study
from tiebreak.study.inside import read_anatomies, read_layers
from tiebreak.study.plan import Execution, Study, parse_contender
from tiebreak.study.results import study_results
from tiebreak.study.store import read_study
from tiebreak.training.checkpoint import Checkpoint
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import run_key, train_run
from tiebreak.training.spec import RunSpec
from tiny_images import tiny_images

FILES = (
    "study.json",
    "layers.json",
    "anatomy.json",
    "images.json",
    "images.png",
    "explain.json",
    "runs/linear/seed-0/run.json",
    "runs/linear/seed-0/predictions.npz",
    "runs/linear/seed-0/weights.safetensors",
)
# What every explain.json says of its study.
ABOUT = {"study": "s", "seeds": [0], "dataset": {"name": "x", "fingerprint": "0", "verified": True}}
MENDED = ("give the ", "Give the ", "Make it again with tiebreak", "update to read it")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with every file that a page is made from."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    recipe = Recipe(epochs=1, batch_size=32)
    study = Study(contenders=[parse_contender(text, recipe) for text in ("linear", "b=linear")], seeds=2)
    list(run_study(study, tiny_images(), folder, Execution(device="cpu", executor="serial")))
    keep_inside(read_study(folder), tiny_images())
    images = tiny_images()
    keep_sheet(folder, study_results(read_study(folder)), images.test_images.numpy(), range(len(images.test)))
    write_sealed(folder / "explain.json", {"a": "linear", "b": "b", "sentences": ["b leads."], **ABOUT})
    write_report(folder)
    return folder


@pytest.fixture
def study(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "study"))


def read_all(folder: Path) -> None:
    """Read every file that a page is made from, as making it does."""
    stored = read_study(folder)
    for label in stored.runs:
        for seed in stored.finished(label):
            stored.predictions(label, seed)
            read_weights(stored, label, seed)
    read_layers(folder)
    read_anatomies(folder)
    read_sheet(folder, stored.header.data.test_images, len(stored.header.data.class_names))
    read_explanation(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_named_wherever_it_is(name: str, study: Path) -> None:
    content = (study / name).read_bytes()
    random = np.random.default_rng(len(name))
    for place in random.integers(0, len(content), 12).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(random.integers(0, 8))
        (study / name).write_bytes(damaged)
        if name.endswith(".json") and same_json(damaged, content):
            continue  # in the white space between values
        with pytest.raises(StudyError) as caught:
            read_all(study)
        assert str(caught.value).startswith(str(study / name)), place
        assert any(words in str(caught.value) for words in MENDED), caught.value


def same_json(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def test_a_changed_file_is_told_since_when_and_what_to_do(study: Path) -> None:
    path = study / "runs/linear/seed-0/predictions.npz"
    stored = json.loads(path.with_name("run.json").read_text())["stored"]
    shutil.copy(study / "runs/linear/seed-1/predictions.npz", path)  # whole, but another run's
    with pytest.raises(StudyError) as caught:
        judge(study)
    assert str(caught.value) == (
        f"{path} was changed after {stored}, when it was stored. Remove {path.parent} and give the same "
        "command to train it again."
    )


def test_the_remedy_works(study: Path) -> None:
    """What the message advises mends the study, with the same bytes."""
    place = study / "runs/linear/seed-0"
    before = (place / "predictions.npz").read_bytes()
    (place / "predictions.npz").write_bytes(before[:-1])
    shutil.rmtree(place)
    plan = read_study(study).study
    list(run_study(plan, tiny_images(), study, Execution(device="cpu", executor="serial")))
    assert (place / "predictions.npz").read_bytes() == before
    judge(study)


@pytest.mark.parametrize("name", [*FILES, "runs", "runs/linear", "runs/linear/seed-0", "figures"])
def test_no_link_is_followed(name: str, study: Path) -> None:
    """Not even one to what was there."""
    (study / name).rename(study.parent / "outside")
    (study / name).symlink_to(study.parent / "outside")
    with pytest.raises(
        StudyError, match="leads out of the study folder; replace the link by what it points to"
    ):
        read_all(study)


@pytest.mark.parametrize("name", FILES)
def test_no_pipe_is_waited_for(name: str, study: Path) -> None:
    (study / name).unlink()
    os.mkfifo(study / name)
    with pytest.raises(StudyError, match=r"is no plain file. Remove it"):
        read_all(study)


def test_a_page_is_made_of_what_was_checked(study: Path) -> None:
    write_report(study)
    (study / "layers.json").write_text((study / "layers.json").read_text().replace("linear", "lineal"))
    with pytest.raises(StudyError, match=r"layers.json was changed after it was written"):
        write_report(study)


def test_accuracy_and_loss_are_computed_and_not_believed(folder: Path) -> None:
    """A forger's seals fit, and so does what an early tiebreak stored without any."""
    for name, wrong in (("test_acc", 7.5), ("test_loss", 0.1)):
        right = getattr(read_study(folder).runs["linear"][0], name)
        edit_json(folder / RUN / "run.json", lambda run, n=name, w=wrong: run.update({n: w}))
        with pytest.raises(
            StudyError, match=rf"run.json states {name} = {wrong}, but predictions.npz .* gives 0|1"
        ):
            judge(folder)
        edit_json(folder / RUN / "run.json", lambda run, n=name, r=right: run.update({n: r}))
    judge(folder)


@pytest.mark.parametrize("part", ["test", "val"])
def test_labels_are_compared_across_runs(part: str, folder: Path) -> None:
    path = folder / "runs" / "wide" / "seed-1" / "predictions.npz"
    with np.load(path) as arrays:
        changed = dict(arrays)
    changed[f"{part}_labels"] = (changed[f"{part}_labels"] + 1) % 3
    with path.open("wb") as file:
        np.savez(file, **changed)
    edit_bytes(path, path.read_bytes())
    measured = {
        f"test_{name}": measure(changed["test_probs"], changed["test_labels"])
        for name, measure in (("acc", accuracy), ("loss", mean_loss))
    }
    edit_json(path.with_name("run.json"), lambda run: run.update(measured))
    what = "test labels" if part == "test" else "validation labels of seed 1"
    with pytest.raises(StudyError) as caught:
        stored = read_study(folder)
        for label in ("linear", "wide"):
            for seed in (0, 1):
                stored.predictions(label, seed)
    first = folder / "runs/linear" / ("seed-0" if part == "test" else "seed-1")
    assert str(caught.value) == (
        f"{path.parent} and {first} differ in the {what}, so that one of them is of other images. "
        "Remove the wrong one and give the same command to train it again."
    )


@pytest.mark.parametrize("probs", [500.0, -0.5, np.nan, 0.4])
def test_numbers_that_are_no_probabilities_are_refused(probs: float, folder: Path) -> None:
    path = folder / RUN / "predictions.npz"
    with np.load(path) as arrays:
        changed = dict(arrays) | {"test_probs": np.full((TEST, 3), probs, np.float32)}
    with path.open("wb") as file:
        np.savez(file, **changed)
    edit_bytes(path, path.read_bytes())
    with pytest.raises(StudyError, match=r"predictions.npz is damaged: test_probs are not all probabilities"):
        judge(folder)


def test_a_flipped_bit_in_a_checkpoint_is_noticed_wherever_it_is() -> None:
    spec, data = RunSpec(model="linear", recipe=Recipe(epochs=1), seed=0, val_size=20), tiny_images()
    stop = threading.Event()
    stop.set()
    (checkpoint,) = train_run(spec, data, torch.device("cpu"), stop=stop)
    assert isinstance(checkpoint, Checkpoint)
    content, random = checkpoint.content, np.random.default_rng(0)
    for place in [*range(8), *random.integers(8, len(content), 100).tolist()]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(random.integers(0, 8))
        with pytest.raises(CheckpointError):
            next(train_run(spec, data, torch.device("cpu"), bytes(damaged)))
    assert run_key(spec, data)["data"] == data.fingerprint


def test_weights_that_share_memory_are_stored(tmp_path: Path) -> None:
    """Tied weights, and a buffer that is a view of another."""
    (tmp_path / "tied.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "class Tied(nn.Module):\n"
        "    def __init__(self, image_shape, num_classes):\n"
        "        super().__init__()\n"
        "        self.a, self.b = nn.Linear(64, 64), nn.Linear(64, 64)\n"
        "        self.end = nn.Linear(64, num_classes)\n"
        "        self.b.weight = self.a.weight\n"
        "        self.register_buffer('all', torch.zeros(10))\n"
        "        self.register_buffer('head', self.all[:5])\n\n"
        "    def forward(self, images):\n"
        "        return self.end(self.b(torch.relu(self.a(images.flatten(1))))) + 0 * self.head.sum()\n"
    )
    contender = parse_contender(f"tied={tmp_path / 'tied.py'}:Tied", Recipe(epochs=1))
    study = Study(contenders=(contender,), seeds=1)
    list(run_study(study, tiny_images(), tmp_path / "study", Execution(device="cpu", executor="serial")))
    assert read_study(tmp_path / "study").runs["tied"][0].status == "finished"


def test_made_up_results_are_consistent() -> None:
    result = some_result(0)
    assert result.test_acc == accuracy(result.predictions.test_probs, result.predictions.test_labels)
