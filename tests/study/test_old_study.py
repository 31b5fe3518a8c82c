"""Study folders of commit 2ae2c3b, which knew neither seals nor identities, are read and gone on with."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from forged import edit_json
from tiebreak.actions.judge import as_json, judge
from tiebreak.actions.report import write_report
from tiebreak.data.catalog import load_dataset
from tiebreak.errors import StudyError
from tiebreak.study.driver import run_study
from tiebreak.study.inside import read_layers
from tiebreak.study.plan import Execution
from tiebreak.study.store import read_study
from tiebreak.training.loop import EpochResult

ARCHIVE = Path(__file__).parent / "data" / "studies-2ae2c3b.tar.xz"
NOT_SEALED = (
    "not sealed: an earlier tiebreak stored this study without checksums, so a change of its files "
    "since then may go unnoticed."
)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def studies(unpacked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(unpacked, tmp_path / "studies"))


@pytest.mark.parametrize("name", ["fixed", "auto"])
def test_the_numbers_are_those_of_then_and_a_note_says_that_it_is_not_sealed(
    name: str, studies: Path
) -> None:
    now, then = (
        as_json(write_report(studies / name)),
        json.loads((studies / f"{name}-report.json").read_text()),
    )
    assert now["notes"][-1] == NOT_SEALED
    assert now["data"]["fingerprint"] == then["data"]["fingerprint"]
    for label, numbers in then["contenders"].items():
        for quantity in ("val_acc", "test_acc", "test_loss"):
            # Logarithms are taken in double precision since.
            values = now["contenders"][label][quantity]["values"]
            assert values == pytest.approx(numbers[quantity]["values"], rel=1e-7)
    (pair,), (pair_then,) = now["comparisons"], then["comparisons"]
    for key in ("a", "b", "verdict", "difference"):
        assert pair[key] == pair_then[key]
    if name == "auto":
        assert now["looks"]["done"] == then["looks"]["done"] == 3


def test_it_is_gone_on_with_and_what_is_new_is_sealed(studies: Path) -> None:
    folder = studies / "fixed"
    shutil.rmtree(folder / "runs" / "linear" / "seed-1")
    plan = read_study(folder).study
    events = run_study(plan, load_dataset("digits"), folder, Execution(device="cpu", executor="serial"))
    trained = [(event.run.label, event.run.seed) for event in events if isinstance(event.news, EpochResult)]
    assert trained == [("linear", 1)]
    assert [run.is_sealed for run in read_study(folder).runs["linear"].values()] == [False, True]
    notes = judge(folder).notes
    assert NOT_SEALED in notes


def test_seeds_that_are_added_to_it_are_told(studies: Path) -> None:
    folder = studies / "fixed"
    plan = read_study(folder).study.model_copy(update={"seeds": (0, 1, 2)})
    list(run_study(plan, load_dataset("digits"), folder, Execution(device="cpu", executor="serial")))
    assert any(note.startswith("seeds were added by hand (2 -> 3)") for note in judge(folder).notes)


def test_what_its_numbers_contradict_is_an_error_without_a_seal_too(studies: Path) -> None:
    path = studies / "fixed" / "runs" / "linear" / "seed-0" / "run.json"
    edit_json(path, lambda run: run.update(test_acc=7.5))
    with pytest.raises(
        StudyError, match=r"run.json states test_acc = 7.5, but predictions.npz beside it gives 0"
    ):
        judge(studies / "fixed")


def test_a_run_of_a_users_model_without_identity_is_trained_anew(
    studies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What its code was then is not known."""
    folder = studies / "fixed"
    edit_json(
        folder / "study.json",
        lambda header: header["study"]["contenders"][0].update(
            model="tiebreak.models.linear:LinearClassifier"
        ),
    )
    plan = read_study(folder).study
    events = run_study(plan, load_dataset("digits"), folder, Execution(device="cpu", executor="serial"))
    trained = [(event.run.label, event.run.seed) for event in events if isinstance(event.news, EpochResult)]
    assert trained == [("linear", 0), ("linear", 1)]
    assert "linear: its model's code has changed since seed 0, 1; training anew" in caplog.text


def rename_layer(folder: Path, layer: int, kind: str) -> None:
    """Nothing seals those of then."""
    edit_json(
        folder / "layers.json",
        lambda file: file["contenders"]["mlp(hidden_dim=16)"]["layers"][layer].update(kind=kind),
    )


@pytest.mark.parametrize("kind", ["conv", "local"])
@pytest.mark.parametrize("layer", [0, 1, 3])
def test_layers_that_do_not_fit_cost_their_panel_alone(kind: str, layer: int, studies: Path) -> None:
    rename_layer(studies / "fixed", layer, kind)
    verdicts = write_report(studies / "fixed")
    assert not [note for note in verdicts.notes if "could not be drawn" in note]
    assert "mlp(hidden_dim=16) cannot answer here: its layers in layers.json" in verdicts.page.read_text()


def test_layers_of_an_unknown_kind_are_named(studies: Path) -> None:
    rename_layer(studies / "fixed", 1, "strange")
    with pytest.raises(StudyError, match=r"layers.json is damaged: contenders.mlp"):
        read_layers(studies / "fixed")
