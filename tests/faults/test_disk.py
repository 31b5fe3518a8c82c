"""A full disk, a folder that cannot be written or has vanished, and a second process: said in one line."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Server, Uninterrupted, leftovers, outcome_of

from forged import edit_json
from tiebreak.study.store import WEIGHTS, read_study

NOBODY = 65534
GO_ON = "What was finished is kept; mend this and give the same command to go on."


def finished(folder: Path) -> list[str]:
    """The runs that can be read, their predictions included."""
    stored = read_study(folder)
    for label, runs in stored.runs.items():
        for seed in runs:
            stored.predictions(label, seed)
            stored.run_file(label, seed, WEIGHTS)
    return [f"{label} {seed}" for label, runs in stored.runs.items() for seed in runs]


def test_a_file_that_grows_too_large_is_said_and_what_was_finished_stays(
    server: Server, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    moment = {"signal": signal.SIGKILL, "function": "write_run", "nth": 2}
    server(folder=str(folder), moments=[moment])
    assert finished(folder) == ["linear 0"]
    answer = server(folder=str(folder), largest_file=15_000)
    assert answer["exit"] == 2
    path = folder / "runs/_mlp(hidden_dim=16,_dropout=0.2)-174c9d21/seed-0"
    expected = rf"tiebreak: {re.escape(str(path))}/\S+ cannot be written: File too large. {GO_ON}\n"
    assert re.fullmatch(expected, answer["output"]), answer["output"]
    assert finished(folder) == ["linear 0"]
    assert server(folder=str(folder))["exit"] == 0
    assert outcome_of(folder) == uninterrupted[0]
    assert leftovers(folder) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_said_and_what_was_finished_stays(
    server: Server, uninterrupted: Uninterrupted, small_disk: Path
) -> None:
    folder = small_disk / "study"
    answer = server(folder=str(folder))
    assert answer["exit"] == 2
    assert answer["output"].count("\n") == 1
    assert f" cannot be written: No space left on device. {GO_ON}" in answer["output"]
    before = finished(folder)
    assert before
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    assert server(folder=str(folder))["exit"] == 0
    assert len(before) < len(finished(folder))
    assert outcome_of(folder) == uninterrupted[0]
    assert leftovers(folder) == []


def test_a_read_only_folder_is_said(server: Server) -> None:
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        Path(parent, "study").mkdir(mode=0o555)
        who = {"user": NOBODY} if os.geteuid() == 0 else {}  # root may write everywhere
        answer = server(folder=f"{parent}/study", **who)
        assert answer == {
            "exit": 2,
            "output": f"tiebreak: {parent}/study cannot be written: Permission denied.\n",
        }


def test_a_folder_that_vanishes_is_said_and_not_made_anew(
    server: Server, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    pause = {"signal": signal.SIGSTOP, "function": "train_step", "nth": 15}
    paused = server(folder=str(folder), moments=[pause])["stopped"]
    folder.rename(tmp_path / "elsewhere")
    answer = server(**{"continue": paused})
    assert answer["exit"] == 2
    assert answer["output"] == (
        f"tiebreak: {folder} has vanished while the study ran. "
        "Bring it back and give the same command to go on.\n"
    )
    assert not folder.exists()
    (tmp_path / "elsewhere").rename(folder)
    assert server(folder=str(folder))["exit"] == 0
    assert outcome_of(folder) == uninterrupted[0]
    assert leftovers(folder) == []


def test_a_second_process_is_told_who_holds_the_study_until_that_one_is_dead(
    server: Server, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    pause = {"signal": signal.SIGSTOP, "function": "train_step", "nth": 15}
    holder = server(folder=str(folder), moments=[pause])["stopped"]
    answer = server(folder=str(folder))
    assert answer["exit"] == 2
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
    expected = (
        rf"tiebreak: {re.escape(str(folder))} is in use by process {holder} on \S+ since {when}; "
        r"wait for its end or choose another --out\.\n"
    )
    assert re.fullmatch(expected, answer["output"]), answer["output"]
    server(kill=holder)
    assert server(folder=str(folder))["exit"] == 0
    assert outcome_of(folder) == uninterrupted[0]
    assert leftovers(folder) == []


def test_a_clock_that_was_set_back_changes_nothing(
    server: Server, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    """All that is stored seems to come from the future."""
    folder = tmp_path / "study"
    server(folder=str(folder), moments=[{"signal": signal.SIGKILL, "function": "train_step", "nth": 15}])
    edit_json(folder / "study.json", lambda header: header.update(created="2190-01-01T00:00:00+00:00"))
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (7e9, 7e9))
    assert server(folder=str(folder))["exit"] == 0
    assert outcome_of(folder) == uninterrupted[0]
