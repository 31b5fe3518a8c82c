"""A file as each producer writes it, to who was right on which image; or a refusal that says what to do."""

import numpy as np
import pytest

from judge import producers
from judge.producers import CLASSES, FILES, MODELS, answers, probabilities, truth
from tiebreak.actions.judge_files import find_files, make_reading, results_of_arrays
from tiebreak.errors import EvidenceError
from tiebreak.results.foreign import Reading, results_of_files
from tiebreak.results.results import Measure, Pairing

# folder or file, labels, settings, what is measured, seeds
READ = [
    ("timm", "labels.csv", {}, Measure.CLASSES, (0,)),
    ("timm-topk", "label_numbers.csv", {}, Measure.CLASSES, (0,)),
    ("timm-all", "label_numbers.csv", {}, Measure.CLASSES, (0,)),
    ("timm-json", "label_numbers.csv", {}, Measure.CLASSES, (0,)),
    ("timm-split", "label_numbers.csv", {}, Measure.CLASSES, (0,)),
    ("timm-parquet", "label_numbers.csv", {}, Measure.CLASSES, (0,)),
    ("mmpretrain", "labels.npy", {"prediction": "pred_label"}, Measure.CLASSES, (0,)),
    ("fiftyone", None, {}, Measure.CLASSES, (0,)),
    ("mlflow", None, {}, Measure.CLASSES, (0,)),
    ("wandb", None, {}, Measure.CLASSES, (0,)),
    ("kaggle", "kaggle_solution.csv", {}, Measure.CLASSES, (0,)),
    ("lm-eval", None, {}, Measure.CORRECTNESS, (0,)),
    ("inspect", None, {}, Measure.CORRECTNESS, (1, 2)),
    ("every-eval-ever", None, {}, Measure.CORRECTNESS, (0,)),
    ("evalci", None, {}, Measure.CORRECTNESS, (0,)),
    ("evalci-json", None, {}, Measure.CORRECTNESS, (0,)),
    ("statgate", None, {}, Measure.CORRECTNESS, (0,)),
    ("evalstats.csv", None, {}, Measure.CORRECTNESS, (0, 1)),
    ("keras", "labels.npy", {}, Measure.CLASSES, (0, 1)),
    ("hugging-face", None, {}, Measure.CLASSES, (0, 1)),
    ("safetensors", None, {}, Measure.CLASSES, (0, 1)),
    ("wilds", "labels.npy", {}, Measure.CLASSES, (0, 1)),
    ("multi-bootstrap", "labels.npy", {}, Measure.CLASSES, (0, 1)),
    ("many-logits", "labels.npy", {}, Measure.CLASSES, (0, 1)),
    ("openml", None, {}, Measure.CLASSES, (0, 1)),
]


def read(name, labels=None, **settings):
    reading = make_reading(settings)
    (told,) = results_of_files(
        find_files([FILES / name]),
        Reading(**{**vars(reading), "labels": None if labels is None else FILES / labels}),
    )
    return told


@pytest.mark.parametrize(
    ("name", "labels", "settings", "measure", "seeds"), READ, ids=lambda value: str(value)
)
def test_every_producer_is_read_to_who_was_right(name, labels, settings, measure, seeds):
    results = read(name, labels, **settings).results
    assert results.measure is measure
    assert len(results.labels) == len(MODELS)
    for label in results.labels:
        model = next(model for model in MODELS if model in label)
        assert tuple(results.of(label).runs) == seeds
        for number, right in enumerate(results.values(label).values()):
            np.testing.assert_array_equal(right, answers(model, number) == truth())


def test_files_are_those_that_the_writers_write(tmp_path):
    producers.write_all(tmp_path)
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(FILES) for path in FILES.rglob("*") if path.is_file()}
    assert written == kept
    texts = [path for path in written if path.suffix in (".csv", ".json", ".jsonl", ".arff")]
    assert all((tmp_path / path).read_bytes() == (FILES / path).read_bytes() for path in texts)


@pytest.mark.parametrize("name", ["timm-all", "timm-parquet", "keras", "safetensors", "openml"])
def test_probabilities_are_read_exactly(name):
    labels = {"keras": "labels.npy"}.get(name, "label_numbers.csv" if "timm" in name else None)
    results = read(name, labels).results
    for label in results.labels:
        model = next(model for model in MODELS if model in label)
        for number, run in enumerate(results.of(label).runs.values()):
            np.testing.assert_array_equal(run.probs, probabilities(model, number))


def test_logits_become_probabilities_and_it_is_said():
    results = read("hugging-face").results
    run = results.of("resnet").runs[0]
    np.testing.assert_allclose(run.probs, probabilities("resnet", 0), rtol=1e-6)
    assert "outputs are no probabilities: taken as logits, through softmax" in results.notes


def test_folds_are_not_seeds():
    results = read("openml").results
    assert results.rule.pairing is Pairing.FOLDS
    assert results.examples.class_names == CLASSES
    assert set(results.of("resnet").runs[0].folds.tolist()) == {1, 2, 3}


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("refused/timm-results.csv", None, "one number a model, not one answer an example"),
        ("refused/predictions.json", None, "example 1 comes twice"),
        ("refused/mmpretrain.pkl", None, 'np.savez("mmpretrain.npz", predictions='),
        ("refused/predictions_0.pt", None, 'table.to_parquet("predictions_0.parquet")'),
        ("refused/model.joblib", None, "a pickle, which can run code when it is read, so it is not"),
        ("refused/objects.npy", None, "an array of Python objects (a pickle)"),
        ("timm", None, "predicted"),
        ("mmpretrain", "labels.npy", "pred_label and pred_class could each be the prediction"),
        ("keras", None, "give them by --labels"),
    ],
)
def test_what_is_refused_says_what_to_do(name, labels, message):
    with pytest.raises(EvidenceError) as caught:
        read(name, labels)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_and_data_frames_from_python_are_the_same_as_files():
    import polars as pl

    from_files = read("keras", "labels.npy").results
    arrays = {model: np.stack([probabilities(model, seed) for seed in (0, 1)]) for model in MODELS}
    frames = {
        model: pl.DataFrame(
            {
                "run": np.repeat([0, 1], len(truth())),
                "id": np.tile(np.arange(len(truth())), 2),
                "label": np.tile(truth(), 2),
                "prediction": np.concatenate([answers(model, seed) for seed in (0, 1)]),
            }
        )
        for model in MODELS
    }
    (of_arrays,) = results_of_arrays(arrays, truth(), Reading())
    (of_frames,) = results_of_arrays(frames, None, Reading())
    (of_paths,) = results_of_arrays(
        {model: FILES / f"keras/{model}_seed0.npy" for model in MODELS}, FILES / "labels.npy", Reading()
    )
    for label in MODELS:
        for seed, right in from_files.values(label).items():
            np.testing.assert_array_equal(of_arrays.results.values(label)[seed], right)
            np.testing.assert_array_equal(of_frames.results.values(label)[seed], right)
        np.testing.assert_array_equal(of_paths.results.values(label)[0], from_files.values(label)[0])
