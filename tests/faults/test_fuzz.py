"""Whatever a study file, a study folder or a contender's name holds, only the project's own errors come out.

TIEBREAK_HYPOTHESIS=thorough tries 10,000 cases of each.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forged import edit_bytes
from tiebreak.errors import StudyError, TiebreakError
from tiebreak.results.run import Cost, History, Predictions, Timing, mean_loss
from tiebreak.sealed import SEAL, canonical, digest
from tiebreak.study.environment import describe_environment
from tiebreak.study.plan import Study, make_study, parse_contender
from tiebreak.study.record import DataFacts
from tiebreak.study.store import read_study
from tiebreak.study.study_file import StudyFile, interpret, read_study_file
from tiebreak.study.writing import begin_study, write_failed_run, write_run
from tiebreak.training.checkpoint import this_machine
from tiebreak.training.placement.placement import Placement
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import RunResult

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
)
KEYS = st.sampled_from([*StudyFile.model_fields, *Recipe.model_fields, "name", "model", "label", "threads"])
TABLES = st.dictionaries(KEYS | st.text(max_size=8), VALUES, max_size=6)
ENTRIES = st.dictionaries(st.sampled_from(["model", "label", "recipe", "x"]), VALUES | TABLES, max_size=3)
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "contenders": st.lists(st.sampled_from(["mlp", "a=cnn"]) | st.text(max_size=20) | ENTRIES, max_size=3)
        | VALUES,
        "seeds": st.integers(-1, 20) | VALUES,
        "level": VALUES,
        "out": VALUES,
        "data": TABLES | VALUES,
        "recipe": TABLES | VALUES,
        "execution": TABLES | VALUES,
    },
)
PIECES = [
    "mlp",
    "=",
    "(",
    ")",
    "[",
    "{",
    "'",
    '"',
    ",",
    "*",
    "**",
    "width",
    "64",
    "1e999",
    ":",
    ".py",
    "\\",
    "\n",
    "\0",
    "ü",
]
NAMES = st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


def one_line(error: TiebreakError) -> bool:
    """The command line joins words, so that a line break inside a quoted value does no harm there."""
    return bool(str(error).strip())


@given(text=NAMES)
def test_any_text_is_a_contender_or_an_error(text: str) -> None:
    try:
        contender = parse_contender(text, Recipe())
    except TiebreakError as error:
        assert one_line(error)
    else:
        assert contender.model
        assert "/" not in contender.folder
        assert make_study(contenders=(contender,), seeds=1).identity


@given(content=CONTENTS, overrides=st.just({}) | st.fixed_dictionaries({"recipe": TABLES}))
def test_any_content_is_a_study_or_an_error(content: dict[str, Any], overrides: dict[str, Any]) -> None:
    try:
        study, _, _ = interpret(content, overrides)
    except TiebreakError as error:
        assert one_line(error)
    else:
        assert Study.model_validate_json(study.model_dump_json()) == study


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("file") / "study.toml"


GOOD_FILE = b"""contenders = ["mlp", { model = "cnn(width=8)", label = "small" }]
seeds = 3
out = "somewhere"
data = { name = "digits", val_size = 100 }
recipe.epochs = 2
"""


@given(
    place=st.integers(0, len(GOOD_FILE)),
    gone=st.integers(0, 30),
    new=st.binary(max_size=8) | st.text().map(str.encode),
)
def test_any_bytes_are_a_study_file_or_an_error(place: int, gone: int, new: bytes, study_file: Path) -> None:
    study_file.write_bytes(GOOD_FILE[:place] + new + GOOD_FILE[place + gone :])
    try:
        study, _, _ = read_study_file(study_file, {})
    except TiebreakError as error:
        assert str(error).startswith(str(study_file))
    else:
        assert tomllib.loads(study_file.read_text(encoding="utf-8-sig"))
        assert study.contenders


@pytest.fixture(scope="module")
def good_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a finished and a failed run."""
    folder = tmp_path_factory.mktemp("folder") / "study"
    facts = DataFacts(
        name="some", fingerprint="ab", class_names=("a", "b"), image_shape=(1, 8, 8), train_images=9,
        val_images=3, test_images=4, mean=(0.5,), std=(0.2,), verified=True, notes=("note",),
    )  # fmt: skip
    study = Study(contenders=(parse_contender("linear", Recipe()),), seeds=(0, 1))
    begin_study(folder, study, facts, describe_environment())
    curve, placement = [0.5], Placement(device="cpu", precision="fp32")
    probs, labels = np.full((4, 2), 0.5, np.float32), np.zeros(4, np.int64)
    result = RunResult(
        history=History(train_loss=curve, train_acc=curve, val_loss=curve, val_acc=curve),
        predictions=Predictions(
            val_probs=probs[:3], val_labels=labels[:3], test_probs=probs, test_labels=labels
        ),
        test_loss=mean_loss(probs, labels), test_acc=1.0, weights={}, cost=Cost(params=1, flops=1, bytes=1),
        timing=Timing(train_seconds=1.0, evaluate_seconds=1.0, images_per_second=1.0),
        placement=placement, machine=this_machine(torch.device("cpu"), placement),
    )  # fmt: skip
    write_run(folder, study.contenders[0], 0, result, "cpu", 1)
    write_failed_run(folder, study.contenders[0], 1, "nan")
    return folder


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    if isinstance(value, dict):
        inner = [place for key, item in value.items() for place in places(item, (*path, key))]
    elif isinstance(value, list):
        inner = [place for index, item in enumerate(value) for place in places(item, (*path, index))]
    else:
        inner = []
    return [path, *inner] if path else inner


@given(data=st.data())
def test_any_json_is_a_study_or_an_error(data: st.DataObject, good_folder: Path) -> None:
    name = data.draw(
        st.sampled_from(["study.json", "runs/linear/seed-0/run.json", "runs/linear/seed-1/run.json"])
    )
    path = good_folder / name
    before = path.read_text()
    content = json.loads(before)
    content.pop(SEAL)
    *parents, last = data.draw(st.sampled_from(places(content)))
    target = content
    for key in parents:
        target = target[key]
    if data.draw(st.booleans()):
        target[last] = data.draw(VALUES)
    else:
        del target[last]
    sealed = content | {SEAL: digest(canonical(content))}  # else the seal alone is tried
    try:
        path.write_text(json.dumps(sealed))
        stored = read_study(good_folder)
    except StudyError as error:
        assert one_line(error)
    else:
        for label in stored.runs:
            assert all(run.history for run in stored.finished(label).values())
    finally:
        path.write_text(before)


@given(place=st.integers(0, 2_000), new=st.binary(max_size=12))
def test_any_bytes_are_predictions_or_an_error(place: int, new: bytes, good_folder: Path) -> None:
    path = good_folder / "runs/linear/seed-0/predictions.npz"
    before = path.read_bytes()
    place = place % len(before)
    changed = before[:place] + new + before[place + len(new) :]
    try:
        edit_bytes(path, changed)
        predictions = read_study(good_folder).predictions("linear", 0)
    except StudyError as error:
        assert one_line(error)
    else:
        assert predictions.val_probs.shape == (3, 2)
    finally:
        edit_bytes(path, before)
