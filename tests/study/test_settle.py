"""All runs of a study are computed in the same number format, with the same number of threads."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tiebreak.data.catalog import load_dataset
from tiebreak.errors import StudyError
from tiebreak.study.driver import run_study
from tiebreak.study.environment import describe_environment
from tiebreak.study.plan import Execution, make_study, parse_contender
from tiebreak.study.reuse import find_runs
from tiebreak.study.settle import MOST_THREADS, settle_precision, settle_threads
from tiebreak.study.store import StoredStudy, read_study
from tiebreak.study.where import machine
from tiebreak.study.writing import begin_study, data_facts
from tiebreak.training.placement.device import choose_device
from tiebreak.training.placement.precision import choose_precision
from tiebreak.training.recipe.recipe import Recipe


def one_seed_of(folder, precision):
    recipe = Recipe(epochs=1)
    study = make_study(contenders=(parse_contender("linear", recipe),), seeds=1)
    list(run_study(study, load_dataset("digits"), folder, Execution(device="cpu", precision=precision)))
    return read_study(folder)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_was_used_is_in_the_record_and_goes_on(tmp_path, precision):
    stored = one_seed_of(tmp_path / "study", precision)
    assert stored.runs["linear"][0].placement.precision == precision
    assert settle_precision(Execution(), stored).precision == precision
    assert settle_precision(Execution(precision=precision), stored).precision == precision


def test_another_format_than_that_of_the_runs_there_is_an_error(tmp_path):
    stored = one_seed_of(tmp_path / "study", "fp32")
    with pytest.raises(StudyError) as error:
        settle_precision(Execution(precision="bf16"), stored)
    assert str(error.value) == (
        f"{tmp_path / 'study'} holds runs in fp32, asked for was bf16; leave out --precision "
        "or choose another --out."
    )


def test_a_new_study_takes_what_auto_chooses_here(tmp_path):
    stored = one_seed_of(tmp_path / "study", "auto")
    run = stored.runs["linear"][0]
    assert run.placement.precision == choose_precision("auto", choose_device("cpu"))


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def set_cores(count: int) -> None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(machine, "available_cores", lambda: list(range(count)))
        monkeypatch.setattr(machine, "cpu_quota", lambda: 64.0)

    return set_cores


def empty_study(folder: Path, contenders: int, seeds: int) -> StoredStudy:
    names = ("linear", "mlp", "cnn")[:contenders]
    study = make_study(contenders=tuple(parse_contender(name, Recipe()) for name in names), seeds=seeds)
    data = load_dataset("digits")
    return begin_study(folder, study, data_facts(data, 100), describe_environment(), ())


@pytest.mark.parametrize(
    ("count", "contenders", "seeds", "threads"),
    [
        (2, 1, 1, 2),
        (2, 2, 1, 1),
        (8, 2, 1, 4),
        (8, 2, 3, 1),
        (8, 3, 1, 2),
        (64, 1, 1, MOST_THREADS),
        (1, 3, 5, 1),
    ],
)
def test_cores_that_a_plan_leaves_idle_are_shared_by_its_runs(
    tmp_path: Path, cores: Callable[[int], None], count: int, contenders: int, seeds: int, threads: int
) -> None:
    cores(count)
    stored = empty_study(tmp_path / "study", contenders, seeds)
    assert settle_threads(Execution(device="cpu"), stored, ()).threads == threads


def test_threads_that_are_asked_for_or_used_already_stay(
    tmp_path: Path, cores: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cores(8)
    stored = empty_study(tmp_path / "empty", 1, 1)
    assert settle_threads(Execution(device="cpu", threads=1), stored, ()).threads == 1
    assert settle_threads(Execution(executor="ray"), stored, ()).threads == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert settle_threads(Execution(device="cpu"), stored, ()).threads == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    trained = one_seed_of(tmp_path / "study", "fp32")
    assert trained.runs["linear"][0].threads == 1
    cores(8)
    assert settle_threads(Execution(device="cpu"), trained, ()).threads == 1
    identity = trained.runs["linear"][0].identity
    found = find_runs(tmp_path, {identity})
    assert settle_threads(Execution(device="cpu"), stored, found).threads == 1
