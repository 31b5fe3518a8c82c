"""What is damaged in a study folder, or a stranger's trap, is named and does nothing."""

import io
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from small_study import CLASSES, FACTS, RUN, TEST, VAL, some_result

from forged import edit_bytes, edit_json
from tiebreak.actions.judge import judge
from tiebreak.actions.live_models import read_weights
from tiebreak.actions.report import write_report
from tiebreak.errors import StudyError
from tiebreak.study.environment import describe_environment
from tiebreak.study.plan import Contender, Study
from tiebreak.study.store import read_study
from tiebreak.study.writing import begin_study, write_run


def in_json(name: Path | str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / name, change)


def as_bytes(name: Path | str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: edit_bytes(folder / name, content)


def with_arrays(compressed: bool = False, **changed: object) -> Callable[[Path], None]:
    """A predictions.npz in which some arrays are others; None leaves one out."""

    def change(folder: Path) -> None:
        path = folder / RUN / "predictions.npz"
        with np.load(path) as arrays:
            content = {**arrays, **changed}
        save, file = np.savez_compressed if compressed else np.savez, io.BytesIO()
        save(file, **{name: value for name, value in content.items() if value is not None})
        edit_bytes(path, file.getvalue())

    return change


def cut(name: Path | str, share: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        edit_bytes(folder / name, content[: int(len(content) * share)])

    return change


def linked(name: Path | str, target: str) -> Callable[[Path], None]:
    """Put a link in the place of a file or folder; the target lies beside the study."""

    def change(folder: Path) -> None:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        place.symlink_to(folder.parent / target)

    return change


def a_bomb(folder: Path) -> None:
    """An array of 8 TB in a small file, by its header."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 2)}
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("val_probs.npy", header.getvalue())
    edit_bytes(folder / RUN / "predictions.npz", file.getvalue())


class Trap:
    """Whoever unpickles it calls a function."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.putenv, ("TIEBREAK_TRAPPED", "1"))


PICKLES = np.array([Trap()], dtype=object)

MALFORMED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (
        lambda folder: folder.rename(folder.parent / "x"),
        "no such folder. Studies are made by tiebreak",
    ),
    "no header": (
        lambda folder: (folder / "study.json").unlink(),
        "holds no study: there is no study.json in it",
    ),
    "a folder as header": (
        lambda folder: ((folder / "study.json").unlink(), (folder / "study.json").mkdir()),
        "study.json is no plain file. Remove it",
    ),
    "empty header": (as_bytes("study.json", b""), "study.json is damaged: Expecting value"),
    "not UTF-8": (as_bytes("study.json", b"\xff\xfe{}"), "study.json is damaged: 'utf-8' codec can't decode"),
    "nested without end": (
        as_bytes("study.json", b"[" * 200_000),
        "study.json is damaged: maximum recursion",
    ),
    "a list": (as_bytes("study.json", b"[]"), "study.json is damaged: Input should be a valid dictionary"),
    "half a header": (cut("study.json", 0.5), "study.json is damaged"),
    "a newer version": (
        in_json("study.json", lambda c: c.update(schema_version=3)),
        "schema version 3, expected 2: it is of a newer tiebreak",
    ),
    "an older version": (
        in_json("study.json", lambda c: c.update(schema_version=0)),
        "it is of an older tiebreak",
    ),
    "a version that is none": (
        in_json("study.json", lambda c: c.update(schema_version="x")),
        "damaged: schema_version: Input should be a valid integer",
    ),
    "an unknown key": (
        in_json("study.json", lambda c: c.update(command="rm")),
        "study.json is damaged: command: Extra inputs are not permitted",
    ),
    "two contenders of one name": (
        in_json("study.json", lambda c: c["study"]["contenders"][1].update(label="linear")),
        "study.json is damaged: study: Value error, the contender 'linear' is there twice",
    ),
    "a label for the terminal": (
        in_json("study.json", lambda c: c["study"]["contenders"][1].update(label="\x1b[2J")),
        "damaged: study.contenders.1.label: Value error, '\\x1b[2J' holds a character that cannot be printed",
    ),
    "a negative number of images": (
        in_json("study.json", lambda c: c["data"].update(test_images=-1)),
        "damaged: data.test_images: Input should be greater than or equal to 0",
    ),
    "a seed that is none": (
        in_json("study.json", lambda c: c["study"].update(seeds=["../.."])),
        "damaged: study.seeds.0: Input should be a valid integer",
    ),
    "a run that is half there": (cut(RUN / "run.json", 0.5), "run.json is damaged"),
    "a run of another seed": (
        in_json(RUN / "run.json", lambda c: c.update(seed=1)),
        "run.json is of linear, seed 1. Remove ",
    ),
    "a run without curves": (
        in_json(RUN / "run.json", lambda c: c.update(history=None)),
        "run.json is damaged: a finished run needs curves",
    ),
    "a run with uneven curves": (
        in_json(RUN / "run.json", lambda c: c["history"]["val_acc"].pop()),
        "run.json is damaged: a finished run needs curves of one length",
    ),
    "a run that keeps an epoch it has not": (
        in_json(RUN / "run.json", lambda c: c.update(kept_epoch=3)),
        "run.json is damaged: a finished run needs curves of one length",
    ),
    "a run of nan": (
        as_bytes(
            RUN / "run.json", b'{"contender": "linear", "seed": 0, "status": "finished", "test_loss": NaN}'
        ),
        "run.json is damaged: test_loss: Input should be a finite number",
    ),
    "no predictions": (
        lambda folder: (folder / RUN / "predictions.npz").unlink(),
        "predictions.npz is missing. Remove ",
    ),
    "half of the predictions": (cut(RUN / "predictions.npz", 0.5), "predictions.npz is damaged"),
    "text as predictions": (as_bytes(RUN / "predictions.npz", b"hello"), "damaged: File is not a zip file"),
    "an array that is missing": (
        with_arrays(test_labels=None),
        "damaged: There is no item named 'test_labels.npy",
    ),
    "an array of another shape": (
        with_arrays(test_labels=np.zeros(TEST - 1, np.int64)),
        "damaged: test_labels holds int64 of shape (39,), expected int64 of shape (40,)",
    ),
    "an array of another type": (
        with_arrays(val_probs=np.zeros((VAL, CLASSES))),
        "damaged: val_probs holds float64 of shape (30, 3), expected float32 of shape (30, 3)",
    ),
    "a pickle among the arrays": (
        with_arrays(val_labels=PICKLES),
        "damaged: val_labels holds object of shape (1,)",
    ),
    "an array that says it is huge": (a_bomb, "damaged: val_probs holds float32 of shape (1000000000000, 2)"),
    "a compressed array": (with_arrays(compressed=True), "damaged: val_probs is compressed"),
    "probabilities that are none": (
        with_arrays(test_probs=np.full((TEST, CLASSES), np.nan, np.float32)),
        "damaged: test_probs are not all probabilities",
    ),
    "labels of no class": (
        with_arrays(test_labels=np.full(TEST, 3)),
        "damaged: test_labels go beyond 0 to 2",
    ),
    "a header elsewhere": (linked("study.json", "secret.json"), "study.json leads out of the study folder"),
    "a run elsewhere": (linked(RUN / "run.json", "secret.json"), "run.json leads out of the study folder"),
    "predictions elsewhere": (
        linked(RUN / "predictions.npz", "secret.json"),
        "leads out of the study folder",
    ),
    "a run's folder elsewhere": (linked(RUN, "elsewhere"), "leads out of the study folder"),
    "figures elsewhere": (linked("figures", "elsewhere"), "figures leads out of the study folder"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_study_is_named_in_one_line(case: str, folder: Path) -> None:
    damage, message = MALFORMED[case]
    (folder.parent / "secret.json").write_text('{"secret": 1}')
    (folder.parent / "elsewhere").mkdir()
    damage(folder)
    with pytest.raises(StudyError) as caught:
        write_report(folder)
    assert message in str(caught.value)
    assert "secret:" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert list((folder.parent / "elsewhere").iterdir()) == []
    assert "TIEBREAK_TRAPPED" not in os.environ


def test_a_header_that_is_too_large_is_not_read(folder: Path) -> None:
    with (folder / "study.json").open("r+b") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(
        StudyError, match=r"study.json is damaged: it has 68,157,440 bytes, at most 67,108,864 fit"
    ):
        read_study(folder)


def test_a_pipe_is_no_predictions_file(folder: Path) -> None:
    path = folder / RUN / "predictions.npz"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StudyError, match=r"predictions.npz is no plain file. Remove it"):
        judge(folder)


def test_a_report_never_runs_the_code_that_a_study_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    folder = tmp_path / "study"
    folder.mkdir()
    for path in (folder / "evil.py", tmp_path / "evil_module.py"):
        path.write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\nmake = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    names = (f"{folder / 'evil.py'}:make", "evil_module:make", "../../../evil.py:make")
    contenders = tuple(Contender(label=f"evil-{n}", model=name) for n, name in enumerate(names))
    study = Study(contenders=contenders, seeds=(0, 1))
    (folder / "evil.py").rename(tmp_path / "evil.py")  # a study begins in an empty folder
    begin_study(folder, study, FACTS, describe_environment())
    (tmp_path / "evil.py").rename(folder / "evil.py")
    for contender in contenders:
        for seed in study.seeds:
            write_run(folder, contender, seed, some_result(seed), "cpu", 1)
    results = write_report(folder)
    assert "undecided" in str(results)
    assert not ran.exists()
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize("label", ["..", "../../up", "/etc/passwd", "a/b", ".", "con\\x", "~", "x" * 200])
def test_a_label_never_leads_out_of_the_folder(label: str, tmp_path: Path) -> None:
    contender = Contender(label=label, model="linear")
    folder = tmp_path / "study"
    begin_study(folder, Study(contenders=(contender,), seeds=(0,)), FACTS, describe_environment())
    write_run(folder, contender, 0, some_result(0), "cpu", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["study"]
    (run,) = folder.rglob("run.json")
    assert run.parent.parent.parent == folder / "runs"
    assert read_study(folder).runs[label][0].contender == label


def test_words_of_a_stranger_reach_the_terminal_without_control_characters(folder: Path) -> None:
    edit_json(folder / "study.json", lambda c: c["data"].update(notes=["\x1b]0;owned\x07 note"], name="a\nb"))
    edit_json(folder / RUN / "run.json", lambda c: c.update(status="failed", reason="\x1b[31mred"))
    text = str(judge(folder))
    assert "\N{REPLACEMENT CHARACTER}]0;owned\N{REPLACEMENT CHARACTER} note" in text
    assert "\N{REPLACEMENT CHARACTER}[31mred" in text
    assert "\x1b" not in text
    assert "\x07" not in text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8 + b"{}",
        pickle.dumps(PICKLES),
        safetensors.torch.save({"a": torch.zeros(9)})[:-4],
    ],
    ids=["nothing", "a huge header", "a pickle", "cut"],
)
def test_weights_that_are_no_safetensors_are_named_and_not_run(content: bytes, folder: Path) -> None:
    edit_bytes(folder / RUN / "weights.safetensors", content)
    with pytest.raises(
        StudyError, match=r"weights.safetensors is damaged: Error while deserializing.* Remove"
    ):
        read_weights(read_study(folder), "linear", 0)
    assert "TIEBREAK_TRAPPED" not in os.environ


def test_weights_that_are_not_there_are_named(folder: Path) -> None:
    (folder / RUN / "weights.safetensors").unlink()
    with pytest.raises(
        StudyError, match=r"weights.safetensors is missing. Remove .*seed-0 and give the same"
    ):
        read_weights(read_study(folder), "linear", 0)
