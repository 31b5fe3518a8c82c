"""The page as a file: valid, self-contained, made from the folder alone; nothing can break out of it."""

import base64
import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forged import edit_json
from tiebreak.actions.judge import Verdicts
from tiebreak.actions.report import write_report
from tiebreak.calls import parse_call
from tiebreak.errors import ModelError, StudyError
from tiebreak.report.page.html import as_script_json
from tiebreak.study.plan import Contender, DataChoice, choose_seeds, make_study
from tiebreak.study.study_file import interpret
from tiebreak.study.study_text import study_as_toml
from tiebreak.training.recipe.recipe import Recipe

Rewrite = Callable[[Path], str]


def test_is_valid_html(study: Verdicts) -> None:
    page = study.page.read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(page)
    ids = re.findall(r'<[^>]* id="([^"]+)"', page[: page.index('<script type="application/json"')])
    assert len(ids) == len(set(ids)) > 40


def test_nothing_is_loaded_from_elsewhere(study: Verdicts) -> None:
    page = study.page.read_text(encoding="utf-8")
    assert study.page.stat().st_size < 12_000_000
    sources = re.findall(r'(?:src|href|action|srcset)="([^"]*)"', page)
    assert sources
    assert all(source.startswith(("#", "data:image/png;base64,")) for source in sources)


def test_the_policy_admits_exactly_the_scripts_of_the_page(study: Verdicts) -> None:
    page = study.page.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    admitted = re.findall(r"'sha256-([^']+)'", policy)
    inline = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline]
    assert len(inline) == 4
    assert admitted[:4] == hashes
    assert len(admitted) == 5  # and Plotly, which is inflated first
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_names_of_the_study_are_escaped(study: Verdicts) -> None:
    page = study.page.read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "<b>cnn</b>" not in page
    assert "&lt;b&gt;cnn&lt;/b&gt; &amp; &#34;co&#34;" in page


def test_banners_tell_what_must_be_known(study: Verdicts) -> None:
    page = study.page.read_text(encoding="utf-8")
    assert "the official ones that the name clothes promises" in page
    assert page.count('<p class="banner">A note with &lt;i&gt;markup&lt;/i&gt;.</p>') == 1


def test_the_folder_alone_is_enough(kinds: Verdicts, tmp_path: Path, write_again: Rewrite) -> None:
    """Here the models' code is gone, and the data never had a name."""
    before = kinds.page.read_bytes()
    kinds.page.unlink()
    assert write_again(kinds.folder).encode() == before


def test_a_study_can_be_reported_again(copied: Path) -> None:
    before = (copied / "report.html").read_bytes()
    (copied / "report.html").unlink()
    assert write_report(copied).page == copied / "report.html"
    assert (copied / "report.html").read_bytes() == before


def test_what_the_folder_lacks_is_said(copied: Path, write_again: Rewrite) -> None:
    for name in ("layers.json", "anatomy.json"):
        (copied / name).unlink()
    page = write_again(copied)
    assert "The study folder holds no anatomy of its first training step" in page
    assert "mlp cannot answer here: the study folder does not tell its layers" in page
    for name in ("images.png", "images.json"):
        (copied / name).unlink()
    page = write_again(copied)
    assert "The study folder holds no images (images.png); running the study again adds them." in page


def test_a_missing_run_has_a_banner(copied: Path, write_again: Rewrite) -> None:
    next(copied.glob("runs/mlp/seed-1/run.json")).unlink()
    page = write_again(copied)
    assert re.search(r"mlp:\s+seed 1 not run yet\.", page)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("images.json", b"{}", "images.json is damaged: columns: Field required. Remove"),
        ("images.png", b"no picture", "images.png was changed after it was stored. Remove"),
        ("layers.json", b"[", "layers.json is damaged"),
        ("anatomy.json", b'{"contenders": 3}', "anatomy.json is damaged: contenders: Input"),
        ("explain.json", b'{"a": "mlp", "arrangement": 3}', "explain.json is damaged: arrangement: Input"),
    ],
)
def test_damaged_files_are_named(
    copied: Path, name: str, content: bytes, complaint: str, write_again: Rewrite
) -> None:
    (copied / name).write_bytes(content)
    with pytest.raises(StudyError, match=re.escape(complaint)):
        write_again(copied)


def test_a_sheet_that_names_other_images_is_refused(copied: Path, write_again: Rewrite) -> None:
    path = copied / "images.json"
    edit_json(path, lambda sheet: sheet["images"][0].update(index=500))
    with pytest.raises(StudyError, match=r"images\.json fits neither images\.png nor the study"):
        write_again(copied)


def test_a_model_whose_layers_do_not_fit_its_weights_is_left_out(copied: Path, write_again: Rewrite) -> None:
    text = (copied / "layers.json").read_text().replace('"fc1"', '"gone"')
    edit_json(copied / "layers.json", lambda layers: layers.update(contenders=json.loads(text)["contenders"]))
    page = write_again(copied)
    assert "mlp cannot answer here: its layers in layers.json and its weights of seed 0 do not fit" in page


def test_an_explanation_is_drawn(copied: Path, write_again: Rewrite) -> None:
    """The file as the first version wrote it; other names in it would change nothing."""
    content = (Path(__file__).parent / "explain_of_0.1.json").read_text()
    (copied / "explain.json").write_text(content.replace("Inconclusive:", "<Inconclusive>"))
    page = write_again(copied)
    assert "&lt;Inconclusive&gt;" in page
    assert "<title>Why cnn(width=4) against mlp(hidden_dim=32)?" in page
    for chart in ("ladder-chart", "arrangement-chart", "why-curve-0", "why-curve-4"):
        assert f'id="{chart}"' in page
    html5lib.HTMLParser(strict=True).parse(page)


@given(
    st.recursive(st.text() | st.sampled_from(["</script>", "<!--", "\u2028", "]]>"]), st.lists, max_leaves=5)
)
def test_json_cannot_end_its_script(value: object) -> None:
    text = str(as_script_json(value))
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


RECIPES = st.builds(
    Recipe,
    optimizer=st.sampled_from(["adam", "sgd"]),
    lr=st.floats(1e-6, 1),
    epochs=st.integers(1, 9),
    flip=st.booleans(),
)
MODEL = str(parse_call('path/x.py:make(mode="a\\\\b", size=(3, 4))', ModelError))
LABELS = st.text(min_size=1, max_size=20).filter(str.isprintable)


@given(
    st.lists(st.tuples(LABELS, RECIPES), min_size=1, max_size=3, unique_by=lambda pair: pair[0]),
    st.lists(st.integers(0, 9), min_size=1, unique=True),
    st.none() | st.sets(st.integers(2, 30), min_size=1, max_size=4).map(sorted),
    st.sampled_from([0.9, 0.95]),
    st.none() | st.integers(1, 9),
)
def test_the_study_file_gives_the_study(
    contenders: list[tuple[str, Recipe]],
    seeds: list[int],
    looks: list[int] | None,
    level: float,
    val_size: int | None,
) -> None:
    study = make_study(
        contenders=tuple(Contender(label=label, model=MODEL, recipe=recipe) for label, recipe in contenders),
        **(choose_seeds(None, looks) if looks and len(contenders) > 1 else choose_seeds(seeds)),
        level=level,
        data=DataChoice(name="arrays:ü.npz", val_size=val_size),
    )
    again, _, _ = interpret(tomllib.loads(study_as_toml(study)), {})
    assert again.identity == study.identity


def test_what_must_be_known_of_the_runs_is_a_banner(copied: Path, write_again: Rewrite) -> None:
    edit_json(
        next(copied.glob("runs/mlp/seed-1/run.json")),
        lambda run: run.update(resumed_inexactly="torch was <1>"),
    )
    page = write_again(copied)
    assert '<p class="banner">mlp, seed 1 was interrupted and resumed' in page
    assert "(torch was &lt;1&gt;)" in page
