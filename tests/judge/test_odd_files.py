"""Odd files: handled and said, or refused in one line with exit status 2."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tiebreak.actions.judge_files import find_files, make_reading
from tiebreak.cli import main
from tiebreak.errors import TiebreakError
from tiebreak.evidence.compare.judgement import judge_study
from tiebreak.results.foreign import Reading, results_of_files
from tiebreak.results.results import Pairing

IDS = [f"i{n}" for n in range(6)]
TRUTH = ["cat", "dog", "cat", "dog", "cat", "dog"]
GUESS = ["cat", "dog", "dog", "dog", "cat", "cat"]


def table(ids=IDS, truth=TRUTH, guess=GUESS, **more) -> str:
    columns = {"id": ids, "label": truth, "prediction": guess} | more
    columns = {name: values for name, values in columns.items() if values is not None}
    rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    return "\n".join(rows) + "\n"


def read(folder: Path, files: dict, labels: str | None = None, **settings):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    named = [folder / name for name in files if name != labels]
    reading = make_reading(settings)
    (told,) = results_of_files(
        find_files(named), Reading(**{**vars(reading), "labels": labels and folder / labels})
    )
    return told


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


RIGHT = [g == t for g, t in zip(GUESS, TRUTH, strict=True)]
FLIPPED = [RIGHT[n] for n in (5, 4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("files", "labels", "settings", "note"),
    [
        ({"a.csv": table(), "b.csv": table()}, None, {}, None),
        # another order of rows, which ids put right
        ({"a.csv": table(), "b.csv": table(IDS[::-1], TRUTH[::-1], GUESS[::-1])}, None, {}, None),
        ({"a.csv": "\ufeff" + table(), "b.csv": table()}, None, {}, None),
        ({"a.csv": table().replace("\n", "\r\n"), "b.csv": table()}, None, {}, None),
        ({"a.csv": table().replace(",", ";"), "b.csv": table()}, None, {}, None),
        ({"a.tsv": table().replace(",", "\t"), "b.csv": table()}, None, {}, None),
        (
            {"a.csv": table(guess=[g.upper() for g in GUESS]), "b.csv": table()},
            None,
            {},
            "upper and lower case",
        ),
        # another word for a label, which some answers know and some do not
        (
            {
                "a.csv": table(truth=["cat", "dog", "sheep"] * 2, guess=["cat", "dog", "lamb"] * 2),
                "b.csv": table(truth=["cat", "dog", "sheep"] * 2, guess=["cat", "dog", "dog"] * 2),
            },
            None,
            {},
            "predicted though no label has it: 'lamb'; such answers count as wrong. "
            "Never predicted: 'sheep'. If these are the same class, write it alike",
        ),
        # labels as numbers, as text, as floats
        (
            {
                "a.csv": table(truth=[1, 2, 1, 2, 1, 2], guess=[1, 2, 2, 2, 1, 1]),
                "b.csv": table(truth=[1.0, 2.0] * 3, guess=["1", "2", "2", "2", "1", "1"]),
            },
            None,
            {},
            None,
        ),
        # one-hot labels beside probabilities; labels from 1
        (
            {
                "a.npy": npy(np.eye(2)[[0, 1, 1, 1, 0, 0]].astype(np.float32)),
                "b.npy": npy(np.eye(2)[[0, 1, 1, 1, 0, 0]].astype(np.float32)),
                "y.npy": npy(np.eye(2, dtype=int)[[0, 1] * 3]),
            },
            "y.npy",
            {},
            None,
        ),
        (
            {
                "a.npy": npy(np.eye(2)[[0, 1, 1, 1, 0, 0]].astype(np.float32)),
                "b.npy": npy(np.eye(2)[[0, 1, 1, 1, 0, 0]].astype(np.float32)),
                "y.npy": npy(np.array([1, 2] * 3)),
            },
            "y.npy",
            {},
            "labels count from 1 to 2",
        ),
        # probabilities that do not sum to one; a single probability of class 1
        (
            {
                "a.npy": npy(np.array([[0.9, 0.8], [0.1, 0.2], [0.5, 0.6], [0.5, 0.6], [0.5, 0.4], [0.5,
                0.4]])),
                "b.npy": npy(np.array([[0.9, 0.8], [0.1, 0.2], [0.5, 0.6], [0.5, 0.6], [0.5, 0.4], [0.5,
                0.4]])), "y.csv": "0\n1\n0\n1\n0\n1\n",
            },
            "y.csv",
            {},
            "do not sum to one",
        ),
        (
            {
                "a.npy": npy(np.array([[0.1], [0.9], [0.6], [0.7], [0.2], [0.3]])),
                "b.npy": npy(np.array([[0.1], [0.9], [0.6], [0.7], [0.2], [0.3]])),
                "y.csv": "y\n0\n1\n0\n1\n0\n1\n",
            },
            "y.csv",
            {},
            None,
        ),
        # several models in one archive, and in one table
        (
            {"all.npz": npz(a=np.array(GUESS), b=np.array(GUESS), labels=np.array(TRUTH))},
            None,
            {},
            None,
        ),
        (
            {
                "all.csv": "arch,image,y_true,yhat\n"
                + "".join(
                    f"{m},{i},{t},{g}\n" for m in "ab" for i, t, g in zip(IDS, TRUTH, GUESS, strict=True)
                )
            },
            None,
            {},
            None,
        ),
        # a header of numbers, as data frames without names have it
        ({"a.csv": "0,1\n" + "0.9,0.1\n0.2,0.8\n0.3,0.7\n0.1,0.9\n0.6,0.4\n0.7,0.3\n", "b.csv":
          "0.9,0.1\n0.2,0.8\n0.3,0.7\n0.1,0.9\n0.6,0.4\n0.7,0.3\n", "y.txt": "0\n1\n0\n1\n0\n1\n"}, "y.txt",
          {}, None), # names of columns that only the user can know
        (
            {"a.csv": table().replace("prediction", "was"), "b.csv": table().replace("prediction", "was")},
            None,
            {"prediction": "was"},
            None,
        ),
        # examples that one lacks, where only the common ones are asked about
        (
            {"a.csv": table([*IDS, "more"], [*TRUTH, "cat"], [*GUESS, "dog"]), "b.csv": table()},
            None,
            {"common": True},
            "1 of 7 examples are left out",
        ),
        ({"x/seed-0/predictions.csv": table(), "y/seed-0/predictions.csv": table()}, None, {}, None),
    ],
)  # fmt: skip
def test_what_is_odd_is_handled_and_said(files, labels, settings, note, tmp_path):
    results = read(tmp_path, files, labels, **settings).results
    assert len(results.labels) == 2
    for label in results.labels:
        (right,) = results.values(label).values()
        assert right.tolist() in (RIGHT, FLIPPED)
    if note is None:
        usual = ("matched by their order", "one run each says nothing about other seeds")
        assert [told for told in results.notes if not any(part in told for part in usual)] == []
    else:
        assert any(note in told for told in results.notes)


PROBS = np.full((6, 2), 0.5, dtype=np.float32)
REFUSED = [
    ({"a.csv": ""}, {}, "a.csv is empty"),
    ({"a.csv": "id,label,prediction\n"}, {}, "has no rows"),
    ({"a.csv": b"\xff\xfe" + table().encode("utf-16-le")}, {}, "not UTF-8"),
    ({"a.csv": b"id,label,prediction\n1,caf\xe9,caf\xe9\n"}, {}, "damaged"),
    ({"a.csv": table() + "i9,cat\n" + "i10,cat,dog,x,y\n"}, {}, "damaged"),
    ({"a.csv": "id,label\n1,2\n"}, {}, "does not tell what was predicted"),
    ({"a.csv": "id,prediction\n1,2\n"}, {}, "predictions without true labels"),
    ({"a.csv": "a,b\nx,y\n"}, {}, "does not tell what was predicted"),
    ({"a.csv": table(pred=GUESS)}, {}, "prediction and pred could each be the prediction"),
    ({"a.csv": table(filename=IDS)}, {}, "id and filename could each be the example"),
    ({"a.csv": table([*IDS[:5], "i0"])}, {}, "example i0 comes twice"),
    ({"a.csv": table([*IDS[:5], ""])}, {}, '"id" is empty in 1 rows'),
    ({"a.csv": table(guess=[*GUESS[:5], ""])}, {}, "1 of 6 are empty"),
    (
        {"a.csv": table(), "b.csv": table(IDS[:5], TRUTH[:5], GUESS[:5])},
        {},
        "has no answer to 1 of 6 examples",
    ),
    ({"a.csv": table(None), "b.csv": table(None, TRUTH[:5], GUESS[:5])}, {}, "write an id with each answer"),
    ({"a.csv": table(None), "b.csv": table(None, TRUTH[::-1])}, {}, "different labels for 6 of 6"),
    ({"a.csv": table(), "b.csv": table(truth=TRUTH[::-1])}, {}, "different labels for 6 of 6"),
    ({"a.csv": table(), "b.csv": table(None)}, {}, "give all of them ids, or none"),
    ({"a.csv": table(guess=["apple"] * 6)}, {}, "have no class in common"),
    ({"a.csv": table(truth=[1, 2, 3] * 2, guess=[0, 1, 2] * 2)}, {}, "write both alike"),
    ({"a.csv": table(), "b/a.csv": table()}, {"pattern": "{model}.csv"}, "are both a, seed 0"),
    ({"a.csv": table()}, {"pattern": "{seed}.csv"}, "must name {model}"),
    ({"a.csv": table()}, {"pattern": "{model}_seed{seed}.csv"}, "does not fit --pattern"),
    ({"a.csv": table()}, {"prediction": "predicton"}, 'Did you mean "prediction"?'),
    ({"a.csv": table()}, {"correct": "prediction"}, "must say right or wrong"),
    ({"a.csv": table(score=["", *"12345"])}, {"score": "score"}, "1 of 6 scores are missing"),
    (
        {"a.csv": table(), "b.csv": table(None, None, None, id=IDS, ok=[1, 0] * 3)},
        {},
        "judge one kind at a time",
    ),
    ({"a.csv": table()}, {"seeds": "both"}, "--seeds must be paired or unpaired"),
    ({"a.parquet": b"PAR1 not really"}, {}, "damaged"),
    ({"a.json": "{"}, {}, "damaged"),
    ({"a.json": "[1, 2]"}, {}, "holds no table"),
    ({"a.json": json.dumps({"columns": ["a", "b"], "data": [[1]]})}, {}, "damaged"),
    ({"a.json": "[" * 100_000}, {}, "damaged"),
    ({"a.jsonl": '{"id": 1}\n[2]\n'}, {}, "line 2 is not a record"),
    ({"a.jsonl": '{"id": 1}\n{"id"\n'}, {}, "line 2 is not JSON"),
    ({"a.arff": "@RELATION x\n@ATTRIBUTE n STRING\n@DATA\n'a'\n"}, {}, "ARFF"),
    ({"a.npy": b"\x93NUMPY\x01\x00"}, {}, "damaged"),
    ({"a.npz": b"PK\x03\x04 and no more"}, {}, "damaged"),
    ({"a.npz": npz()}, {}, "holds no answers"),
    ({"a.npz": npz(predictions=PROBS, probs=PROBS, labels=np.zeros(6))}, {}, "could each be the answers"),
    ({"a.npz": npz(predictions=PROBS, labels=np.arange(6) % 3)}, {}, "labels go from 0 to 2"),
    ({"a.npz": npz(predictions=PROBS, labels=np.zeros((6, 3)))}, {}, "one a test example, or one-hot"),
    ({"a.npz": npz(predictions=np.zeros((7, 5)), labels=np.arange(6) % 2)}, {}, "has shape (7, 5)"),
    ({"a.npz": npz(predictions=PROBS * np.nan, labels=np.arange(6) % 2)}, {}, "no finite numbers"),
    ({"a.npz": npz(predictions=np.zeros(6, dtype=complex), labels=np.arange(6))}, {}, "holds complex128"),
    ({"a.npy": npy(np.arange(6))}, {}, "give them by --labels FILE"),
    ({"a.safetensors": b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "}, {}, "holds no answers"),
    ({"a.safetensors": b"nothing"}, {}, "damaged"),
    ({"a.xlsx": b"PK"}, {}, "is of a kind that is not read"),
    ({"a.pkl": b"\x80\x04N."}, {}, "so it is not"),
    ({"a.csv": table(), "b.csv": table()}, {"baseline": "c"}, 'baseline "c" is no contender'),
    ({"a.csv": table(), "b.csv": table()}, {"level": 95.0}, "must lie between 0 and 1"),
    ({"a.csv": table().replace("label", "model").replace("prediction", '"predic\ntion"')}, {}, "predic tion"),
    (
        {"a.csv": 'model,label,prediction\n"r\x1b[31m\nesnet",0,0\n"r\x1b[31m\nesnet",1,1\n'},
        {},
        r"a contender is called 'r\x1b[31m\nesnet'",
    ),
]


@pytest.mark.parametrize(("files", "settings", "message"), REFUSED, ids=[m for _, _, m in REFUSED])
def test_what_is_malformed_is_one_line_and_exit_status_2(
    files, settings, message, tmp_path, monkeypatch, capsys
):
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(tmp_path)
    options = [f"--{name}={value}" for name, value in settings.items()]
    monkeypatch.setattr("sys.argv", ["tiebreak", "judge", *files, *options])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err
    assert not Path("tiebreak-studies").exists()


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("predictions.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (5 * 2**30,)}
        )
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.filelist[0].file_size = 20 * 2**30  # as the archive says of itself
        archive._didModify = True
    with pytest.raises(TiebreakError, match="holds 20 GiB of arrays; the most is 16"):
        results_of_files([tmp_path / "a.npz"], Reading())


def test_a_large_table_and_an_archive_agree(tmp_path):
    """As many rows as are read in blocks, so that none is lost or moved."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 7, 30_000)
    guess = {m: np.where(rng.random(30_000) < 0.8, truth, rng.integers(0, 7, 30_000)) for m in "ab"}
    frames = [
        pl.DataFrame({"model": m, "id": np.arange(30_000), "label": truth, "pred": g})
        for m, g in guess.items()
    ]
    pl.concat(frames).sample(fraction=1, shuffle=True, seed=1).write_csv(tmp_path / "all.csv")
    results = results_of_files([tmp_path / "all.csv"], Reading())[0].results
    order = np.argsort(results.examples.ids)
    for model in "ab":
        np.testing.assert_array_equal(results.values(model)[0][order], guess[model] == truth)


def test_folds_in_a_file_each_are_one_cross_validation(tmp_path):
    rng = np.random.default_rng(1)
    files = {}
    for model, share in (("a", 0.9), ("b", 0.6)):
        for fold in range(5):
            rows = [f"{20 * fold + n},{int(ok)}" for n, ok in enumerate(rng.random(20) < share)]
            files[f"{model}_fold{fold}.csv"] = "\n".join(["id,ok", *rows])
    results = read(tmp_path, files).results
    assert results.rule.pairing is Pairing.FOLDS
    assert [list(results.of(label).runs) for label in "ab"] == [[0], [0]]
    run = results.of("a").runs[0]
    assert len(run.answers) == 100
    assert sorted(set(run.folds.tolist())) == list(range(5))
    (judgement,) = judge_study(results).judgements
    assert "5 folds, Nadeau-Bengio's correction" in judgement.sentence
