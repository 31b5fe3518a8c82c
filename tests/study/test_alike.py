"""Runs that were not computed alike are told, in the words of their records."""

from pathlib import Path

import pytest
from small_study import RUN

from forged import edit_json
from tiebreak.study.alike import notes_on_runs
from tiebreak.study.store import read_study


def test_runs_that_are_alike_need_no_note(folder: Path) -> None:
    assert notes_on_runs(read_study(folder)) == []


@pytest.mark.parametrize("name", ["device", "precision", "processor", "torch", "numpy", "tiebreak"])
def test_each_part_of_the_machine_is_told(name: str, folder: Path) -> None:
    here = getattr(read_study(folder).runs["wide"][0].machine, name)
    edit_json(folder / RUN / "run.json", lambda run: run["machine"].update({name: "another"}))
    (note,) = notes_on_runs(read_study(folder))
    assert note == f"not all runs were computed alike: {name} another (1 run) and {here} (3 runs)."


def test_what_differs_is_one_note(folder: Path) -> None:
    edit_json(folder / RUN / "run.json", lambda run: run["machine"].update(threads=4, torch="1.0"))
    (note,) = notes_on_runs(read_study(folder))
    assert note.startswith(
        "not all runs were computed alike: threads 4 (1 run) and 1 (3 runs); torch 1.0 (1 run)"
    )


def test_other_kernels_within_a_contender_are_told_and_between_contenders_are_not(folder: Path) -> None:
    for seed in (0, 1):
        path = folder / "runs" / "linear" / f"seed-{seed}" / "run.json"
        edit_json(path, lambda run: run["placement"].update(winograd=True))
        notes = notes_on_runs(read_study(folder))
        assert len(notes) == 1 - seed
        assert all(
            note.startswith("some runs of linear (winograd in run.json) were computed") for note in notes
        )


def test_a_run_that_was_resumed_inexactly_is_told(folder: Path) -> None:
    edit_json(folder / RUN / "run.json", lambda run: run.update(resumed_inexactly="threads was 1 and is 2"))
    assert notes_on_runs(read_study(folder)) == [
        "linear, seed 0 was interrupted and resumed under other conditions (threads was 1 and is 2): an "
        "uninterrupted run may differ in the last digits."
    ]
