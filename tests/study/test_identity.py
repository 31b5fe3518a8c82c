"""A run is what its result depends on: with another model, other images or another plan it is another run."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

from forged import edit_bytes, edit_json
from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import ModelError
from tiebreak.evidence.compare.judgement import judge_study
from tiebreak.results.results import Results
from tiebreak.study.driver import Event, run_study
from tiebreak.study.plan import Execution, Study, parse_contender
from tiebreak.study.record import RunRecord
from tiebreak.study.results import study_results
from tiebreak.study.store import read_study
from tiebreak.training.loop import EpochResult
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import train_run
from tiebreak.training.spec import RunSpec
from tiny_images import tiny_images

SERIAL = Execution(device="cpu", executor="serial")
RECIPE = Recipe(epochs=1, batch_size=32)
NET = """
from torch import nn
from helper import WIDTH

class Net(nn.Sequential):
    def __init__(self, image_shape, num_classes):
        pixels = image_shape[0] * image_shape[1] * image_shape[2]
        super().__init__(nn.Flatten(), nn.Linear(pixels, WIDTH), nn.ReLU(), nn.Linear(WIDTH, num_classes))

    def forward(self, images):
        return super().forward(images)
"""
BLIND = NET.replace("forward(images)", "forward(0 * images)")


def study_of(*contenders: str, seeds: int = 2, **fields: object) -> Study:
    return Study(contenders=[parse_contender(text, RECIPE) for text in contenders], seeds=seeds, **fields)


def run(
    study: Study, folder: Path, execution: Execution = SERIAL, data: ImageDataset | None = None
) -> list[Event]:
    return list(run_study(study, data or tiny_images(), folder, execution))


def read_results(folder: Path) -> Results:
    return study_results(read_study(folder))


def trained(events: list[Event]) -> list[tuple[str, int]]:
    """The runs of which an epoch was trained."""
    return [(event.run.label, event.run.seed) for event in events if isinstance(event.news, EpochResult)]


def the_files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.glob("runs/*/*/*")
        if path.suffix in (".npz", ".safetensors")
    }


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file of a user's, which imports its neighbour."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "helper.py").write_text("WIDTH = 5\n")
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    return tmp_path / "net.py"


def test_an_edited_model_is_trained_anew_and_the_runs_before_are_kept(
    net: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, study = tmp_path / "studies" / "mine", study_of("linear", f"mine={net}:Net")
    run(study, folder)
    before = the_files(folder)
    assert run(study, folder) == []
    net.write_text(BLIND)
    assert trained(run(study, folder)) == [("mine", 0), ("mine", 1)]
    (said,) = [record.message for record in caplog.records]
    assert said == (
        "mine: its model's code has changed since seed 0, 1; training anew "
        f"(what was there is in {folder / 'earlier'})."
    )
    blind = read_study(folder).predictions("mine", 0).test_probs
    assert (blind == blind[0]).all()  # whatever the image
    net.write_text(NET)  # and back again: nothing is trained
    events = run(study, folder)
    assert trained(events) == []
    assert [event.news.reused_from.partition("-")[0] for event in events] == ["mine/earlier/mine/seed"] * 2
    assert the_files(folder) == before


def test_a_model_that_is_edited_while_its_study_runs_is_noticed(net: Path) -> None:
    spec = RunSpec(model=f"{net}:Net", recipe=RECIPE, seed=0, val_size=20, source="another")
    with pytest.raises(
        ModelError, match=r"net.py:Net: its code was changed while the study ran; give the same"
    ):
        next(train_run(spec, tiny_images(), torch.device("cpu")))


def test_a_checkpoint_of_other_code_is_not_gone_on_with(
    net: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, study = tmp_path / "studies" / "mine", study_of(f"mine={net}:Net", seeds=1)
    events = run_study(study, tiny_images(), folder, SERIAL.model_copy(update={"checkpoint_seconds": 0.0}))
    while not list(folder.glob("runs/*/*/checkpoint.safetensors")):
        next(events)
    events.close()
    net.write_text(BLIND)
    assert trained(run(study, folder)) == [("mine", 0)]
    assert caplog.messages == ["mine, seed 0: its model's code has changed; begun anew."]


def added_seeds(folder: Path) -> list[str]:
    """The notes on seeds that were added after a look."""
    return [note for note in judge_study(read_results(folder)).notes if note.startswith("seeds were added")]


def test_more_seeds_train_only_what_is_new_and_the_note_is_the_same_either_way(tmp_path: Path) -> None:
    models = ("linear", "mlp(hidden_dim=4)")
    by_default, with_out, alone = tmp_path / "by default", tmp_path / "with out", tmp_path / "alone"
    for folder in (by_default / "three", with_out / "mine"):
        run(study_of(*models, seeds=3), folder)
    for number, before in ((4, "three"), (6, "four")):
        name = {4: "four", 6: "six"}[number]
        study = study_of(*models, seeds=number)
        new = [(model, seed) for seed in range({4: 3, 6: 4}[number], number) for model in models]
        assert trained(run(study, by_default / name)) == new, before
        assert trained(run(study, with_out / "mine")) == new
        notes = [added_seeds(place) for place in (by_default / name, with_out / "mine")]
        assert notes[0] == notes[1]
        assert notes[0][0].startswith("seeds were added by hand (3 -> 4)")
    assert [note[:33] for note in notes[0]] == [
        "seeds were added by hand (3 -> 4)",
        "seeds were added by hand (4 -> 6)",
    ]
    run(study_of(*models, seeds=6), alone / "six")
    assert the_files(alone / "six") == the_files(by_default / "six") == the_files(with_out / "mine")
    assert added_seeds(alone / "six") == []


def test_a_run_is_found_under_another_label_and_beside_other_contenders(tmp_path: Path) -> None:
    run(study_of("linear", "mlp(hidden_dim=4)", seeds=1), tmp_path / "one")
    events = run(study_of("narrow=mlp(hidden_dim=4)", "mlp(hidden_dim=5)", seeds=2), tmp_path / "two")
    first = events[0].news
    assert isinstance(first, RunRecord)
    assert (first.contender, first.reused_from) == ("narrow", "one/runs/mlp(hidden_dim=4)/seed-0")
    assert (events[0].ended, events[-1].ended) == (1, 4)
    assert trained(events) == [("mlp(hidden_dim=5)", 0), ("narrow", 1), ("mlp(hidden_dim=5)", 1)]
    stored = read_study(tmp_path / "two")
    assert stored.runs["narrow"][0] == first
    assert added_seeds(tmp_path / "two") == []  # no pair of these could be compared before


@pytest.mark.parametrize(
    "difference",
    ["a bit", "a digit", "a link", "threads", "inexact", "images", "recipe", "split", "owner", "gone"],
)
def test_what_training_would_not_give_byte_for_byte_is_not_used_again(
    difference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, execution, data = study_of("linear", seeds=1), SERIAL, tiny_images()
    run(study, tmp_path / "one")
    place = tmp_path / "one" / "runs/linear/seed-0"
    content = bytearray((place / "weights.safetensors").read_bytes())
    if difference == "a bit":
        content[-1] ^= 1
        (place / "weights.safetensors").write_bytes(content)
    elif difference == "a digit":
        text = (place / "run.json").read_text()
        (place / "run.json").write_text(text.replace('"micro_batches": 1', '"micro_batches": 2'))
    elif difference == "a link":
        (place / "weights.safetensors").rename(tmp_path / "weights")
        (place / "weights.safetensors").symlink_to(tmp_path / "weights")
    elif difference == "inexact":
        edit_json(place / "run.json", lambda record: record.update(resumed_inexactly="threads was 1"))
    elif difference == "threads":
        execution = SERIAL.model_copy(update={"threads": 2})
    elif difference == "images":
        data = tiny_images(seed=1)
    elif difference == "recipe":
        study = Study(contenders=[parse_contender("linear", Recipe(epochs=1, batch_size=31))], seeds=1)
    elif difference == "split":
        study = study_of("linear", seeds=1, data={"val_size": 11})
    elif difference == "owner":
        monkeypatch.setattr(os, "geteuid", lambda: place.stat().st_uid + 1)
    else:
        (place / "predictions.npz").unlink()
    assert trained(run(study, tmp_path / "two", execution, data)) == [("linear", 0)]


def test_a_study_whose_header_is_lost_is_found_again_by_its_runs(tmp_path: Path) -> None:
    study = study_of("linear", "mlp(hidden_dim=4)")
    run(study, tmp_path / "one")
    edit_bytes(tmp_path / "one" / "study.json", b"{")
    assert trained(run(study, tmp_path / "two")) == []


def test_reports_need_no_source(net: Path, tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "mine"
    run(study_of("linear", f"mine={net}:Net"), folder)
    net.unlink()
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert not [n for n in judge_study(read_results(tmp_path / "elsewhere")).notes if "code" in n]


def test_a_run_says_what_it_is(tmp_path: Path) -> None:
    run(study_of("linear", "again=linear"), tmp_path / "one")
    records = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("one/runs/*/*/run.json"))]
    assert len({record["identity"] for record in records}) == 2  # of four runs: the label is nothing to it
    assert all(sorted(record["files"]) == ["predictions.npz", "weights.safetensors"] for record in records)
