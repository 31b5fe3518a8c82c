"""What is written is read again, and nothing of it is lost or mixed up."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from small_study import FACTS, RUN, STUDY, some_result

from tiebreak.errors import StudyError
from tiebreak.study.environment import describe_environment
from tiebreak.study.plan import Study, parse_contender
from tiebreak.study.record import DataFacts
from tiebreak.study.store import read_study, stored_checkpoint
from tiebreak.study.writing import begin_study, write_checkpoint, write_failed_run, write_run
from tiebreak.training.recipe.recipe import Recipe


def test_what_is_written_is_read(folder: Path) -> None:
    stored = read_study(folder)
    assert stored.study == STUDY
    assert stored.header.data == FACTS
    result = some_result(1)
    run = stored.runs["wide"][1]
    assert (run.history, run.test_loss, run.cost, run.timing) == (
        result.history,
        result.test_loss,
        result.cost,
        result.timing,
    )
    for name, array in vars(stored.predictions("wide", 1)).items():
        np.testing.assert_array_equal(array, getattr(result.predictions, name), strict=True)
    weights = safetensors.torch.load(stored.run_file("wide", 1, "weights.safetensors"))
    torch.testing.assert_close(weights["bias"], torch.arange(3.0))


def test_the_folder_of_studies_names_those_in_it(folder: Path) -> None:
    with pytest.raises(StudyError, match=f"no study.json in it. These hold one: '{folder}'.$"):
        read_study(folder.parent)


def test_a_checkpoint_is_there_until_the_run_has_ended(tmp_path: Path) -> None:
    begin_study(tmp_path / "study", STUDY, FACTS, describe_environment())
    linear, wide = STUDY.contenders
    for contender in STUDY.contenders:
        write_checkpoint(tmp_path / "study", contender.label, 0, b"one")
        write_checkpoint(tmp_path / "study", contender.label, 0, b"two")
        assert stored_checkpoint(tmp_path / "study", contender.label, 0) == b"two"
    write_run(tmp_path / "study", linear, 0, some_result(0), "cpu", 1)
    write_failed_run(tmp_path / "study", wide, 0, "the loss is nan")
    assert [stored_checkpoint(tmp_path / "study", c.label, 0) for c in STUDY.contenders] == [None, None]


def test_leftovers_of_a_dead_process_go_and_a_users_files_stay(folder: Path) -> None:
    gone = [folder / ".study.json.ab12cd3_.tmp", folder / RUN / ".run.json.abcdefgh.tmp"]
    gone += [folder / RUN / "checkpoint.safetensors", folder / "figures" / ".a.svg.12345678.tmp"]
    kept = [folder / "notes.tmp", folder / ".notes.tmp", folder / "runs" / "checkpoint.safetensors"]
    (folder / "figures").mkdir()
    for path in (*gone, *kept):
        path.write_text("x")
    begin_study(folder, STUDY, FACTS, describe_environment())
    assert [path.exists() for path in gone] == [False] * 4
    assert [path.exists() for path in kept] == [True] * 3


def test_nothing_is_removed_from_a_folder_that_is_no_study(tmp_path: Path) -> None:
    path = tmp_path / ".notes.abcdefgh.tmp"
    path.write_text("x")
    with pytest.raises(StudyError, match="is not empty and holds no study; choose another --out"):
        begin_study(tmp_path, STUDY, FACTS, describe_environment())
    assert path.exists()


def test_a_study_that_died_in_its_first_moment_is_begun_anew(tmp_path: Path) -> None:
    for name in (".lock", ".lock-holder.txt", ".study.json.abcdefgh.tmp"):
        (tmp_path / name).write_text("x")
    begin_study(tmp_path, STUDY, FACTS, describe_environment())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".lock-holder.txt", "study.json"]


@pytest.mark.parametrize(
    ("study", "facts", "message"),
    [
        (STUDY.model_copy(update={"seeds": (0, 2)}), FACTS, r"another study \(seeds\[1\] was 1, now 2\)"),
        (
            STUDY.model_copy(
                update={"contenders": (parse_contender("linear", Recipe(lr=0.5)), STUDY.contenders[1])}
            ),
            FACTS,
            r"another study \(contenders\[0\].recipe.lr was 0.001, now 0.5\)",
        ),
        (
            STUDY,
            FACTS.model_copy(update={"fingerprint": "cd" * 32}),
            "begun on other images: fingerprint abababababab",
        ),
    ],
)
def test_a_folder_of_another_plan_or_other_images_is_refused(
    study: Study, facts: DataFacts, message: str, folder: Path
) -> None:
    with pytest.raises(StudyError, match=message):
        begin_study(folder, study, facts, describe_environment())
