"""A study that was interrupted goes on: what is finished is kept, what was under way continues."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from forged import edit_json
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.errors import StoppedError, StudyError
from tiebreak.study.driver import Event, run_study
from tiebreak.study.lock import study_lock
from tiebreak.study.plan import Execution, Study, parse_contender
from tiebreak.study.record import RunRecord
from tiebreak.study.results import study_results
from tiebreak.study.stop import StopRequest
from tiebreak.study.store import read_study
from tiebreak.training.checkpoint import Resumed
from tiebreak.training.loop import EpochResult
from tiebreak.training.recipe.recipe import Recipe

OFTEN = Execution(checkpoint_seconds=0)
RECIPE = Recipe(epochs=3, batch_size=16, optimizer="sgd", schedule="cosine", crop=1)
STUDY = Study(
    contenders=tuple(parse_contender(text, RECIPE) for text in ("linear", "mlp(hidden_dim=8, dropout=0.2)")),
    seeds=(0, 1),
)
LINEAR = Path("runs/linear/seed-0")


def some_images() -> ImageDataset:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (130, 1, 8, 8), generator=random).to(torch.uint8)
    labels = torch.arange(130) % 3
    return make_dataset("some", images[:100], labels[:100], images[100:], labels[100:], ("a", "b", "c"))


def run(folder: Path, execution: Execution = OFTEN, study: Study = STUDY) -> list[Event]:
    return list(run_study(study, some_images(), folder, execution))


def the_results(folder: Path) -> dict[str, object]:
    """What must repeat of each run: predictions, weights, curves."""
    results: dict[str, object] = {}
    for path in folder.glob("runs/*/*/run.json"):
        record = json.loads(path.read_text())
        files = {
            name: (path.parent / name).read_bytes() for name in ("predictions.npz", "weights.safetensors")
        }
        results[str(path.parent.relative_to(folder))] = (record["history"], record["test_loss"], files)
    return results


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The results of a study that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    run(folder)
    return the_results(folder)


def begin(folder: Path, events: int, execution: Execution = OFTEN) -> None:
    """The study, dropped after so many events."""
    study = run_study(STUDY, some_images(), folder, execution)
    for _ in range(events):
        next(study)
    study.close()


def test_finished_runs_are_kept_and_the_rest_goes_on(tmp_path: Path, whole: dict[str, object]) -> None:
    folder = tmp_path / "study"
    begin(folder, events=6)  # three epochs and the end of the first run, two epochs of the second
    before = (folder / LINEAR / "run.json").read_bytes()
    first, *events = run(folder)
    assert isinstance(first.news, Resumed)
    assert (first.run.label, first.news.epoch, first.news.batch) == ("mlp(hidden_dim=8, dropout=0.2)", 2, 6)
    epochs = [event.news.epoch for event in events if isinstance(event.news, EpochResult)]
    assert epochs == [2, 3, 1, 2, 3, 1, 2, 3]
    assert (folder / LINEAR / "run.json").read_bytes() == before
    assert the_results(folder) == whole
    assert run(folder) == []


def test_a_stop_request_stores_what_is_under_way(tmp_path: Path, whole: dict[str, object]) -> None:
    folder, stop = tmp_path / "study", StopRequest()
    with pytest.raises(StoppedError, match="The study was stopped; what is finished is kept"):
        for event in run_study(STUDY, some_images(), folder, Execution(), stop=stop):
            if isinstance(event.news, EpochResult) and event.news.epoch == 2:
                stop.signal = 15
    assert (folder / LINEAR / "checkpoint.safetensors").is_file()
    first = run(folder)[0].news
    assert isinstance(first, Resumed)
    assert (first.epoch, first.batch, first.inexact) == (3, 1, None)
    assert the_results(folder) == whole


def test_a_run_resumed_with_other_threads_says_so_in_its_record(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    begin(folder, events=2)
    first = run(folder, Execution(threads=2))[0].news
    assert isinstance(first, Resumed)
    assert first.inexact == "threads was 1 and is 2"
    runs = read_study(folder).runs["linear"]
    assert [runs[seed].resumed_inexactly for seed in (0, 1)] == ["threads was 1 and is 2", None]


def test_a_study_begun_with_other_versions_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "study"
    begin(folder, events=1)
    edit_json(
        folder / "study.json", lambda header: header["environment"].update(torch="1.0", processor="abacus")
    )
    begin(folder, events=1)
    (record,) = caplog.records
    assert re.fullmatch(
        rf"This study was begun elsewhere \(torch was 1.0 and is {re.escape(torch.__version__)}, "
        r"processor was abacus and is .+\); equal digits are not promised\.",
        record.message,
    )


def test_a_failed_run_is_kept_the_others_go_on_and_it_can_be_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    wild = parse_contender("wild=mlp", RECIPE.model_copy(update={"lr": 1e25}))
    study = Study(contenders=(*STUDY.contenders, wild), seeds=(0, 1))
    records = [event.news for event in run(folder, study=study) if isinstance(event.news, RunRecord)]
    assert [record.status for record in records] == ["finished", "finished", "failed"] * 2
    assert re.fullmatch(
        r"the loss is (nan|inf) in epoch 1, batch \d; try a smaller --lr", str(records[2].reason)
    )
    (without,) = study_results(read_study(folder)).without_runs
    assert re.search(r"the loss is (nan|inf) in epoch 1", without.why_none)
    assert run(folder, study=study) == []
    again = [event.news for event in run(folder, Execution(retry_failed=True), study)]
    assert [record.status for record in again if isinstance(record, RunRecord)] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"rubbish", "The checkpoint is damaged. Remove checkpoint.safetensors from the run's folder"),
        (None, "The checkpoint is of a run with another spec. Remove checkpoint.safetensors"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_stops_the_study(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    """None: the checkpoint of another run."""
    folder = tmp_path / "study"
    begin(folder, events=5)
    (other,) = folder.glob("runs/*/*/checkpoint.safetensors")
    place = folder / "runs/linear/seed-1/checkpoint.safetensors"
    place.parent.mkdir()
    place.write_bytes(other.read_bytes() if content is None else content)
    with pytest.raises(StudyError, match=f"runs/linear/seed-1: {message}"):
        run(folder)
    place.unlink()
    assert len([event for event in run(folder) if isinstance(event.news, RunRecord)]) == 3


def test_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    first = run_study(STUDY, some_images(), folder, OFTEN)
    next(first)
    with pytest.raises(StudyError, match=rf"is in use by process {os.getpid()} on \S+ since "):
        run(folder)
    first.close()
    begin(folder, events=1)
    assert not (folder / ".lock-holder.txt").exists()


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    @contextmanager
    def failing() -> Iterator[None]:
        with study_lock(tmp_path):
            yield
            raise ValueError("some error")

    for _ in range(2):
        with pytest.raises(ValueError, match="some error"), failing():
            pass


def test_a_folder_of_something_else_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StudyError, match="is not empty and holds no study; choose another --out"):
        run(tmp_path)
    with pytest.raises(StudyError, match=r"thesis.tex is a file, expected a folder for the study"):
        run(tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_lock_file_that_is_removed_under_way_lets_nobody_in(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    first = run_study(STUDY, some_images(), folder, OFTEN)
    next(first)
    (folder / ".lock").unlink()
    with pytest.raises(StudyError, match=rf"is in use by process {os.getpid()} on \S+ since "):
        run(folder)
    first.close()
    run(folder)
