"""`tiebreak pareto` over two studies: table, JSON, figure, and what it refuses."""

import json
from pathlib import Path

import pytest

import tiebreak as tb
from tiebreak.actions.pareto import pareto
from tiebreak.errors import EvidenceError


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pareto")
    settings = {"seeds": 2, "lr": 0.01, "progress": False}
    tb.compare(["linear", "mlp(hidden_dim=8)"], "digits", epochs=1, out=place / "short", **settings)
    tb.compare(["linear"], "digits", epochs=6, out=place / "long", **settings)
    tb.compare(["linear"], "digits", epochs=1, val_size=50, out=place / "other", **settings)
    return place


def test_all_contenders_are_set_against_their_cost(studies, tiebreak, tmp_path):
    done = tiebreak(
        "pareto", studies / "short", studies / "long", "--by", "flops", "--json", "--out", "figures"
    )
    assert done.status == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["study"] for one in found].count("long") == 1 and len(found) == 3
    of = {(one["label"], one["study"]): one for one in found}
    # 650 parameters; bias included, 1,280 operations forwards, thrice for training, on 1,295 images.
    short, long = (of["linear", name]["cost"]["mean"] for name in ("short", "long"))
    assert long == pytest.approx(6 * short) and short == pytest.approx(3 * 1_280 * 1_295, rel=0.02)
    assert of["linear", "long"]["accuracy"]["mean"] > of["linear", "short"]["accuracy"]["mean"]
    assert "front" in {one["place"] for one in found}
    assert "flops a run" in done.stderr and "on the front" in done.stderr
    assert (tmp_path / "figures" / "pareto.svg").stat().st_size > 1_000


def test_seconds_are_the_usual_cost(studies, tiebreak):
    done = tiebreak("pareto", studies / "short")
    assert done.status == 0 and "seconds a run" in done.stdout and "study" not in done.stdout


def test_what_cannot_be_set_against_each_other_is_said(studies, tiebreak, tmp_path):
    refused = tiebreak("pareto", studies / "short", "--by", "money")
    assert refused.status == 2 and "the cost is seconds or flops, got 'money'" in refused.stderr
    tb.compare(["linear"], "shapes", seeds=1, epochs=1, out=tmp_path / "shapes", progress=False)
    with pytest.raises(EvidenceError, match="are about different data; their accuracies do not compare"):
        pareto([studies / "short", tmp_path / "shapes"])
