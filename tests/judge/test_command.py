"""`tiebreak judge` and what takes its folder, as a shell sees them."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import polars as pl
import pytest

from tiebreak.cli import main

ROW = 60


@pytest.fixture
def tiebreak(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object):
        monkeypatch.setattr("sys.argv", ["tiebreak", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def write_answers(folder, models=(("resnet", 0.9), ("vit", 0.7)), seeds=3, images=300):
    rng = np.random.default_rng(0)
    truth = np.arange(images) % 3
    for model, share in models:
        for seed in range(seeds):
            guess = np.where(rng.random(images) < share, truth, (truth + 1) % 3)
            probs = np.full((images, 3), 0.1)
            probs[np.arange(images), guess] = 0.8
            pl.DataFrame(
                {"id": [f"img/{n}.png" for n in range(images)], "label": truth, "prediction": guess}
                | {f"prob_{k}": probs[:, k] for k in range(3)}
            ).write_csv(folder / f"{model}_seed{seed}.csv")


def test_from_files_to_table_verdict_figures_and_page(tiebreak, tmp_path):
    write_answers(tmp_path, (("resnet", 0.9), ("vit", 0.7), ("mlp", 0.7)))
    status, out, _ = tiebreak("judge", *sorted(tmp_path.glob("*.csv")), "--out", "judged")
    assert status == 0
    assert "resnet beats vit" in out
    assert re.search(r"resnet +9\d\.\d ± \d\.\d", out)
    assert "cannot be told" not in out
    assert "Note: read as: model and seed by file names, example = id, label = label" in " ".join(out.split())
    assert out.endswith("Look at it:   judged/report.html\n")
    assert {path.name for path in (tmp_path / "judged").iterdir()} == {
        "judged.json",
        "results.npz",
        "figures",
        "report.html",
    }
    page = (tmp_path / "judged" / "report.html").read_text()
    for part in (
        "Class by class",
        "What is taken for what",
        "Do they know",
        "img/",
        "Statistical significance",
    ):
        assert part in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_check_plan_report_and_export_take_the_folder(tiebreak, tmp_path):
    write_answers(tmp_path)
    tiebreak("judge", *sorted(tmp_path.glob("*.csv")), "--out", "judged", "--seeds", "paired")
    status, out, _ = tiebreak(
        "check", "judged", "resnet - vit >= 0.01", "vit > resnet", "--junit", "j.xml", "--markdown", "m.md"
    )
    assert status == 1
    assert [line.split(":")[0] for line in out.splitlines()] == ["shown", "refuted"]
    suite = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "1", "0")
    assert [case.get("name") for case in suite] == ["resnet - vit >= 0.01", "vit > resnet"]
    assert "| ❌ refuted | `vit > resnet` |" in (tmp_path / "m.md").read_text()
    status, out, _ = tiebreak("plan", "--pilot", "judged", "--difference", "0.05")
    assert status == 0
    assert "of training" not in out
    status, _, err = tiebreak("check", "judged", "resnet.params < 5")
    assert status == 2
    assert 'nothing called "params" was measured of resnet' in err
    status, out, _ = tiebreak("report", "judged", "--json")
    assert status == 0
    assert [pair["verdict"] for pair in json.loads(out)["comparisons"]] == ["a better"]
    status, _, err = tiebreak("judge", "judged")
    assert (status, err.count("tiebreak report judged")) == (2, 1)
    status, out, _ = tiebreak("export", "judged", "again.parquet")
    assert status == 0
    assert pl.read_parquet(tmp_path / "again.parquet").height == 2 * 3 * 300


def test_markdown_and_latex_alone_are_on_stdout(tiebreak, tmp_path):
    write_answers(tmp_path, (("res_net", 0.9), ("vit", 0.7)))
    files = sorted(tmp_path.glob("*.csv"))
    _, out, err = tiebreak("judge", *files, "--markdown")
    assert out.startswith("| contender | test acc | test loss |\n| --- | ---: | ---: |\n")
    assert "- res_net beats vit" in out
    assert "Factors of variability: the seed, 3 a contender, and the choice of 300 test examples" in out
    assert "res_net beats vit" in err
    _, out, _ = tiebreak("judge", *files, "--latex")
    assert r"res\_net & " in out
    assert r"$\pm$" in out
    assert r"95\% CI" in out
    assert not re.search(r"(?<!\\)[&%](?![^\n]*\\\\)", re.sub(r"^%.*$", "", out, flags=re.MULTILINE))


def test_numbers_of_a_paper(tiebreak):
    status, out, _ = tiebreak("judge", "--numbers", "resnet 93.1, vit 92.8, n=10000")
    assert status == 0
    assert out.startswith("resnet leads vit by 0.3 points on 10,000 test images (single runs): depends on")
    status, out, _ = tiebreak("judge", "--numbers", "resnet 93.1, vit 92.8, n=10000", "--json")
    (pair,) = json.loads(out)["pairs"]
    assert pair["best"]["p_value"] < 0.05 < pair["worst"]["p_value"]
    status, _, err = tiebreak("judge", "--numbers", "a 1, b 2, n=3", "--latex")
    assert status == 2 and "--markdown and --latex tell what predictions on one data set show" in err
    status, _, err = tiebreak("judge", "a.csv", "--numbers", "a 1, b 2, n=3")
    assert (status, err.count("\n")) == (2, 1)


def test_scores_have_their_own_words(tiebreak, tmp_path):
    rng = np.random.default_rng(1)
    frames = [
        pl.DataFrame({"model": m, "run": r, "id": np.arange(ROW), "score": rng.normal(mean, 1, ROW)})
        for m, mean in (("a", 2.0), ("b", 0.0))
        for r in range(4)
    ]
    pl.concat(frames).write_parquet(tmp_path / "scores.parquet")
    status, out, _ = tiebreak("judge", "scores.parquet", "--json")
    (pair,) = json.loads(out)["comparisons"]
    assert status == 0
    assert "of score" in pair["sentence"]
    assert not [note for note in json.loads(out)["notes"] if "chance" in note or "answering" in note]
    assert set(json.loads(out)["contenders"]["a"]) >= {"score"}
    status, out, _ = tiebreak(
        "check", next((tmp_path / "tiebreak-studies").iterdir()), "a.score - b.score > 1"
    )
    assert (status, out.split(":")[0]) == (0, "shown")


def test_several_data_sets(tiebreak, tmp_path):
    rng = np.random.default_rng(2)
    frames = [
        pl.DataFrame({"corpus": d, "model": m, "run": r, "id": np.arange(200), "ok": rng.random(200) < share})
        for d in "pq"
        for m, share in (("a", 0.9), ("b", 0.6))
        for r in range(3)
    ]
    pl.concat(frames).write_csv(tmp_path / "all.csv")
    status, out, _ = tiebreak("judge", "all.csv", "--dataset", "corpus", "--out", "both")
    assert status == 0
    assert "Data set p" in out
    assert "a beats b on all 2 data sets" in out
    assert "always answering" not in out  # only right and wrong are known
    assert (tmp_path / "both" / "q" / "judged.json").is_file()


def test_images_beside_the_answers_come_into_the_page(tiebreak, tmp_path):
    from PIL import Image

    write_answers(tmp_path, images=30)
    (tmp_path / "img").mkdir()
    for n in range(30):
        Image.new("RGB", (200, 100), (n, 0, 0)).save(tmp_path / f"img/{n}.png")
    tiebreak("judge", *sorted(tmp_path.glob("*.csv")), "--out", "judged", "--images", tmp_path)
    assert (tmp_path / "judged" / "report.html").read_text().count("<figure>") >= 3


def test_neither_judging_nor_checking_imports_pytorch(tmp_path):
    write_answers(tmp_path)
    files = [str(path) for path in sorted(tmp_path.glob("*.csv"))]
    code = (
        "import sys\n"
        "from tiebreak.cli import main\n"
        "for arguments in (['judge', *sys.argv[1:], '--out', 'judged'], ['check', 'judged', 'resnet > "
        "vit']):\n"
        "    sys.argv = ['tiebreak', *arguments]\n"
        "    main()\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *files], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
