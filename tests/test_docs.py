"""The check of the documents finds what is wrong in them."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import check_docs  # noqa: E402


def test_the_documents_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_docs.main() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a](nowhere.md)", "nowhere.md: there is no such file"),
        ("# One\n[a](#two)", "#two: no such heading"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(text: str, complaint: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert list(check_docs.wrong_links(page, text)) == [complaint]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```console\n$ tiebreak compare mlp --sedes 3\n```\n", "No such option: --sedes"),
        ("```console\n$ tiebreak compere mlp\n```\n", "there is no command compere"),
        ("```console\n$ tiebreak plan --difference much\n```\n", "Invalid value for '--difference'"),
        ("```python\nprint(\n```\n", "python: '(' was never closed"),
        ('```toml\ncontenders = ["mlp"]\nsedes = 3\n```\n', 'unknown key "sedes"'),
    ],
)
def test_a_block_that_does_not_hold_is_found(text: str, complaint: str) -> None:
    (found,) = check_docs.wrong_blocks(text)
    assert complaint in found
