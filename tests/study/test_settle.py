"""All runs of a study are computed in the same number format."""

import pytest

from tiebreak.data.catalog import load_dataset
from tiebreak.errors import StudyError
from tiebreak.study.driver import run_study
from tiebreak.study.plan import Execution, make_study, parse_contender
from tiebreak.study.settle import settle_precision
from tiebreak.study.store import read_study
from tiebreak.training.device import choose_device
from tiebreak.training.precision import choose_precision
from tiebreak.training.recipe import Recipe


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
