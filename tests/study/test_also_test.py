"""Further test parts: answered as a model answered its own, judged each, and strangers are refused."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import python_2
from tiebreak.actions.judge import as_json, judge
from tiebreak.actions.run import run
from tiebreak.data import test_parts
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.data.test_parts import fit_to, load_test_part
from tiebreak.errors import DataError
from tiebreak.study.also_test import answers_place, read_answers
from tiebreak.study.plan import Execution, Study, parse_contender
from tiebreak.study.store import read_study
from tiebreak.training.recipe.recipe import Recipe
from tiny_images import tiny_images

SERIAL = Execution(device="cpu", executor="serial")


def write_arrays(path: Path, data: ImageDataset, names: tuple[str, ...] | None = None) -> str:
    np.savez(
        path,
        x_train=data.train_images.numpy(),
        y_train=data.train_labels.numpy(),
        x_test=data.test_images.numpy(),
        y_test=data.test_labels.numpy(),
        class_names=np.array(names or data.class_names),
    )
    return f"arrays:{path}"


def study_of(*also: str, seeds: int = 3) -> Study:
    recipe = Recipe(epochs=2, batch_size=32)
    contenders = (parse_contender("linear", recipe), parse_contender("cnn(width=8)@test:blur(1.0)", recipe))
    return Study(contenders=contenders, seeds=seeds, data={"val_size": 30}, also_test=also)


def test_the_same_images_get_the_same_answers(tmp_path: Path) -> None:
    """Transforms, number format and layout included: the twin of the test part has its very predictions."""
    twin, folder = write_arrays(tmp_path / "twin.npz", tiny_images()), tmp_path / "study"
    found = run(study_of(twin), SERIAL, folder, tiny_images())
    stored = read_study(folder)
    answers = read_answers(stored, twin)
    for label in stored.runs:
        for seed in (0, 1, 2):
            assert np.array_equal(answers[f"{label}/{seed}"], stored.predictions(label, seed).test_probs)
    (also,) = found.also
    assert also.same_order is True
    assert [j.sentence for j in also.judgements] == [j.sentence for j in found.judgements]
    assert f"On {twin} (40 images): " in str(found) and "; the same order." in str(found)
    assert as_json(found)["also"][twin]["images"] == 40
    assert twin in found.page.read_text(encoding="utf-8")


def test_runs_on_other_training_images_answer_too(tmp_path: Path) -> None:
    """So the twin of the test part has the very verdict, its third part included."""
    twin, folder = write_arrays(tmp_path / "twin.npz", tiny_images()), tmp_path / "study"
    study = study_of(twin).model_copy(update={"vary": "data"})
    found = run(study, SERIAL, folder, tiny_images())
    there = read_study(folder / "redrawn")
    answers = read_answers(there, twin)
    for label in there.runs:
        for seed in (0, 1, 2):
            assert np.array_equal(answers[f"{label}/{seed}"], there.predictions(label, seed).test_probs)
    (also,) = found.also
    assert "with other training images" in also.judgements[0].sentence
    assert [j.sentence for j in also.judgements] == [j.sentence for j in found.judgements]


def test_other_images_have_a_verdict_of_their_own_from_the_folder_alone(tmp_path: Path) -> None:
    other, folder = write_arrays(tmp_path / "other.npz", tiny_images(seed=5)), tmp_path / "study"
    run(study_of(other), SERIAL, folder, tiny_images())
    (tmp_path / "other.npz").unlink()
    (also,) = judge(folder).also
    answers = read_answers(read_study(folder), other)
    truth = tiny_images(seed=5).test_labels.numpy()
    for contender in also.contenders:
        expected = [
            (answers[f"{contender.label}/{seed}"].argmax(axis=1) == truth).mean() for seed in (0, 1, 2)
        ]
        assert contender.test_acc.values == pytest.approx(expected)


def test_only_what_is_missing_is_asked_again(tmp_path: Path) -> None:
    other, folder = write_arrays(tmp_path / "other.npz", tiny_images(seed=5)), tmp_path / "study"
    run(study_of(other, seeds=2), SERIAL, folder, tiny_images())
    path = folder / answers_place(other)
    before, when = path.read_bytes(), path.stat().st_mtime_ns
    run(study_of(other, seeds=2), SERIAL, folder, tiny_images())
    assert path.stat().st_mtime_ns == when
    path.write_bytes(b"damaged")
    run(study_of(other, seeds=2), SERIAL, folder, tiny_images())
    assert path.read_bytes() == before
    run(study_of(other, seeds=3), SERIAL, folder, tiny_images())
    assert len(read_answers(read_study(folder), other)) == 1 + 2 * 3


def test_classes_are_matched_by_name() -> None:
    data = tiny_images()
    part = load_test_part_of(data, ("C", "a", "B"))
    fitted = fit_to(part, data)
    assert fitted.class_names == data.class_names
    assert fitted.labels.tolist() == [[2, 0, 1][label] for label in part.labels.tolist()]


def load_test_part_of(data: ImageDataset, names: tuple[str, ...]) -> object:
    from tiebreak.data.test_parts import TestPart

    return TestPart(name="other", images=data.test_images, labels=data.test_labels, class_names=names)


def test_other_classes_and_shapes_are_refused() -> None:
    data = tiny_images()
    with pytest.raises(DataError, match="other: its class 'd' is none of tiny's"):
        fit_to(load_test_part_of(data, ("a", "b", "d")), data)
    images = torch.zeros((6, 1, 9, 9), dtype=torch.uint8)
    larger = make_dataset("larger", images, torch.arange(6) % 3, images, torch.arange(6) % 3, ("a", "b", "c"))
    with pytest.raises(
        DataError, match=r"images of \(C, H, W\) = \(1, 9, 9\), but the models take \(1, 8, 8\)"
    ):
        fit_to(load_test_part_of(larger, ("a", "b", "c")), data)


def published(folder: Path, count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Files of the forms in which CIFAR-10.1 and CIFAR-10-C are published."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = random.integers(0, 10, count)
    np.save(folder / "cifar10.1_v6_data.npy", images)
    np.save(folder / "cifar10.1_v6_labels.npy", labels.astype(np.int32))
    (folder / "CIFAR-10-C").mkdir()
    np.save(folder / "CIFAR-10-C" / "fog.npy", images)
    np.save(folder / "CIFAR-10-C" / "labels.npy", labels.astype(np.uint8))
    return images, labels


def test_published_files_are_read(tmp_path: Path) -> None:
    images, labels = published(tmp_path)
    newer = load_test_part("cifar10.1", tmp_path)
    assert np.array_equal(newer.images.numpy(), images.transpose(0, 3, 1, 2))
    assert newer.labels.tolist() == labels.tolist() and newer.class_names[3] == "cat"
    foggy = load_test_part("cifar10-c(noise='fog', severity=2)", tmp_path)
    assert np.array_equal(foggy.images.numpy(), images[4:8].transpose(0, 3, 1, 2))
    assert foggy.labels.tolist() == labels[4:8].tolist()


@pytest.mark.parametrize(
    "written_by", ["Python 2", "Python 3", "Python 3 for 2", "Python 3 with keys of bytes"]
)
def test_cifair_is_read_from_its_own_file_alone(
    written_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (20, 3_072), dtype=np.uint8), random.integers(0, 10, 20).tolist()
    batch: dict[Any, Any] = {"data": images, "labels": labels}
    content = {
        "Python 2": lambda: python_2.dumps(batch),
        "Python 3": lambda: pickle.dumps(batch),
        "Python 3 for 2": lambda: pickle.dumps(batch, protocol=2),
        "Python 3 with keys of bytes": lambda: pickle.dumps({key.encode(): x for key, x in batch.items()}),
    }[written_by]()
    (tmp_path / "ciFAIR-10").mkdir()
    (tmp_path / "ciFAIR-10" / "test_batch").write_bytes(content)
    with pytest.raises(
        DataError, match=r"cifair10: .*test_batch: not the official file \(its MD5 sum differs"
    ):
        load_test_part("cifair10", tmp_path)
    monkeypatch.setattr(test_parts, "CIFAIR_MD5", hashlib.md5(content, usedforsecurity=False).hexdigest())
    part = load_test_part("cifair10", tmp_path)
    assert np.array_equal(part.images.numpy(), images.reshape(20, 3, 32, 32))
    assert part.labels.tolist() == labels


def test_a_folder_without_a_test_part_is_used_whole(tmp_path: Path) -> None:
    from PIL import Image

    for label in ("a", "b"):
        (tmp_path / "newer" / label).mkdir(parents=True)
        for number in range(5):
            Image.new("L", (8, 8), 20 * number).save(tmp_path / "newer" / label / f"{number}.png")
    part = load_test_part(f"folder:{tmp_path / 'newer'}")
    assert len(part.labels) == 10 and part.class_names == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cifar10.1", "cifar10.1: there is no cifar10.1_v6_data.npy in .*name its folder with --data-dir"),
        ("cifair10", "there is no test_batch in .*cvjena.github.io/cifair.*unpacked.*--data-dir"),
        ("cifar10-c", "give it as cifar10-c\\(noise='fog', severity=3\\), with a severity of 1 to 5"),
        ("cifar10-c(noise='fog', severity=6)", "with a severity of 1 to 5"),
        ("cifar10-c(noise='frog')", "cifar10-c: no frog.npy in .*Did you mean"),
        ("imagenet", "also_test: unknown test images 'imagenet'"),
        ("arrays:nowhere.npz", "there is no file nowhere.npz"),
    ],
)
def test_what_is_not_there_is_said(text: str, message: str, tmp_path: Path) -> None:
    if "frog" in text:
        published(tmp_path)
    with pytest.raises(DataError, match=message):
        load_test_part(text, tmp_path)


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    published(tmp_path)
    np.save(tmp_path / "cifar10.1_v6_data.npy", np.zeros((20, 32, 32, 3)))
    with pytest.raises(
        DataError, match=r"expected uint8 images of shape \(N, 32, 32, 3\) and a label each, got float64"
    ):
        load_test_part("cifar10.1", tmp_path)
    (tmp_path / "cifar10.1_v6_data.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        load_test_part("cifar10.1", tmp_path)
    np.save(tmp_path / "cifar10.1_v6_data.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        load_test_part("cifar10.1", tmp_path)


def test_a_wrong_part_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown test images"):
        run(study_of("imagenet"), SERIAL, tmp_path / "study", tiny_images())
    assert not (tmp_path / "study").exists()
