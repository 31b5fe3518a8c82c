"""Every test that docs/promises.md and docs/faults.md name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", ["promises.md", "faults.md"])
def test_every_test_that_is_named_exists(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    files = {path.name: path.read_text() for path in ROOT.glob("tests/**/test_*.py")}
    named_files = re.findall(r"(test_\w+\.py)", text)
    named_tests = re.findall(r"(test_\w+)(?!\w|\.py)", text)
    assert len(named_files) > 20 and len(named_tests) > 20
    assert [name for name in named_files if name not in files] == []
    everything = "\n".join(files.values())
    assert [name for name in named_tests if f"def {name}(" not in everything] == []
