"""A study folder to begin with."""

from pathlib import Path

import pytest
from small_study import FACTS, STUDY, some_result

from tiebreak.study.environment import describe_environment
from tiebreak.study.writing import begin_study, write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of four finished runs."""
    place = tmp_path / "study"
    begin_study(place, STUDY, FACTS, describe_environment())
    for contender in STUDY.contenders:
        for seed in STUDY.seeds:
            write_run(place, contender, seed, some_result(seed), "cpu", 1)
    return place
