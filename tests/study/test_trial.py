"""The trial before training: each way to fail is told in one line, and nothing is left behind."""

import re
from pathlib import Path

import pytest
import torch

from odd_models import ODD
from tiebreak.actions.judge import as_json
from tiebreak.actions.run import run
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.errors import DataError, ModelError
from tiebreak.models.catalog import BUILTIN
from tiebreak.study.driver import run_study
from tiebreak.study.plan import Contender, DataChoice, Execution, make_study
from tiebreak.study.trial import try_run
from tiebreak.study.trial_notes import read_trials
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.spec import RunSpec

CPU = torch.device("cpu")
PLAIN = Execution(precision="fp32", executor="serial")


@pytest.fixture
def odd(tmp_path: Path) -> str:
    path = tmp_path / "odd.py"
    path.write_text(ODD)
    return str(path)


def some_images(train: int = 60, test: int = 30, side: int = 8) -> ImageDataset:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (train + test, 1, side, side), generator=random).to(torch.uint8)
    labels = torch.arange(train + test) % 3
    parts = images[:train], labels[:train], images[train:], labels[train:]
    return make_dataset("some", *parts, ("a", "b", "c"))


def attempt(model: str, data: ImageDataset | None = None, batch_size: int = 16) -> tuple[str, ...]:
    """The trial of a run that trains on all but 10 images."""
    spec = RunSpec(model=model, recipe=Recipe(batch_size=batch_size), seed=0, val_size=10)
    return try_run(spec, data or some_images(), CPU, "fp32")


@pytest.mark.parametrize("name", ["Net", "Normed", "Squeezed", "Tied", "Placed", "Drawing", "Recurrent"])
def test_what_works_has_no_note(odd: str, name: str) -> None:
    assert attempt(f"{odd}:{name}") == ()


@pytest.mark.parametrize("name", BUILTIN)
def test_what_comes_with_tiebreak_has_no_note(name: str) -> None:
    assert attempt(name, some_images(side=16)) == ()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("Auxiliary", "expected logits of shape (batch, 3), got Out (logits, aux); return the logits alone"),
        ("Frozen", "there is nothing to train: all its parameters are frozen (requires_grad=False)"),
        ("Nothing", "there is nothing to train: it has no parameter"),
        ("Infinite", "the loss of its first step is nan"),
        ("Extra", "the weights of {odd}:Extra cannot be saved: AttributeError"),
        ("Float8", "the weights of {odd}:Float8 cannot be saved and loaded: AttributeError"),
        (
            "Sparse",
            "training batch of shape (B, C, H, W) = (8, 1, 8, 8): RuntimeError: Adam does not support sparse",
        ),
        ("Tired(steps=0)", "RuntimeError: too tired ({odd}, line "),
    ],
)
def test_what_cannot_be_trained_is_one_line(odd: str, model: str, words: str) -> None:
    with pytest.raises(ModelError, match=re.escape(words.format(odd=odd))) as caught:
        attempt(f"{odd}:{model}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", ["Normed", "Squeezed"])
def test_a_lone_last_image_is_found_and_the_remedy_works(odd: str, model: str) -> None:
    data = some_images(train=59)  # 49 images to train on
    with pytest.raises(ModelError) as caught:
        attempt(f"{odd}:{model}", data)
    found = re.search(
        r"of 49 training images the last batch of an epoch has 1, which fails \(--batch-size (\d+) avoids",
        str(caught.value),
    )
    assert found, caught.value
    remedy = int(found[1])
    assert remedy in (15, 17)
    assert attempt(f"{odd}:{model}", data, batch_size=remedy) == ()


def test_a_batch_size_of_one_is_no_batch_for_batch_norm(odd: str) -> None:
    with pytest.raises(ModelError, match=r"of 50 training images the last .* has 1, .*--batch-size 2 avoids"):
        attempt(f"{odd}:Normed", batch_size=1)


def test_a_lone_test_image_is_found(odd: str) -> None:
    with pytest.raises(ModelError, match=r"got \(3,\) for a batch of 1\. squeeze\(\) drops the batch of one"):
        attempt(f"{odd}:Squeezed", some_images(test=501))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("Sure", "its outputs look like probabilities (each row sums to 1); return logits"),
        ("Together", "its answer to an image depends on the other images of the batch"),
        ("Normed(track=False)", "its answer to an image depends on the other images of the batch"),
        ("Dropping", "it answers otherwise when it is asked again"),
        ("Unseeded", "two models made with one seed differ, so its runs cannot be repeated"),
    ],
)
def test_what_must_be_known_is_a_note(odd: str, model: str, words: str) -> None:
    (note,) = attempt(f"{odd}:{model}")
    assert note.startswith(words)


def study_of(models: dict[str, str], seeds: int = 1):
    return make_study(
        contenders=tuple(
            Contender(label=label, model=model, recipe=Recipe(epochs=1, batch_size=16))
            for label, model in models.items()
        ),
        seeds=seeds,
        data=DataChoice(name="some", val_size=10),
    )


def test_notes_are_kept_and_reach_text_json_and_page(odd: str, tmp_path: Path) -> None:
    study = study_of({"linear": "linear", "sure": f"{odd}:Sure"})
    results = run(study, PLAIN, tmp_path / "study", some_images())
    (note,) = [note for note in results.notes if note.startswith("sure: its outputs look like probabilities")]
    assert note in as_json(results)["notes"]
    assert note in " ".join(str(results).split())
    assert note in results.page.read_text()

    for _ in run_study(study, some_images(), results.folder, PLAIN):
        pass
    assert read_trials(results.folder, ["linear", "sure"]) == (note,)

    # Other code is tried anew, before anything of it is trained.
    Path(odd).write_text(ODD.replace("class Sure(Net):", "class Sure(Auxiliary):"))
    with pytest.raises(ModelError, match="Sure"):
        next(run_study(study, some_images(), results.folder, PLAIN))
    assert read_trials(results.folder, ["linear", "sure"]) == (note,)


def test_nothing_is_written_or_trained_when_a_trial_fails(odd: str, tmp_path: Path) -> None:
    study = study_of({"linear": "linear", "aux": f"{odd}:Auxiliary"})
    with pytest.raises(ModelError, match="return the logits alone"):
        list(run_study(study, some_images(), tmp_path / "study", PLAIN))
    assert not (tmp_path / "study").exists()


def test_an_odd_model_never_costs_the_verdict(odd: str, tmp_path: Path) -> None:
    study = study_of({"linear": "linear", "placed": f"{odd}:Placed", "tied": f"{odd}:Tied"})
    results = run(study, PLAIN, tmp_path / "study", some_images())
    assert len(results.judgements) == 3
    assert "placed cannot answer here: the page computes layers one after another" in results.page.read_text()


def test_a_model_that_cannot_be_looked_into_leaves_a_reason(odd: str, tmp_path: Path) -> None:
    from tiebreak.actions.keep import keep_inside
    from tiebreak.study.inside import read_anatomies, read_layers
    from tiebreak.study.store import read_study

    study = study_of({"linear": "linear", "own": f"{odd}:Net"})
    for _ in run_study(study, some_images(), tmp_path / "study", PLAIN):
        pass
    Path(odd).unlink()
    keep_inside(read_study(tmp_path / "study"), some_images())
    assert "no such file" in str(read_layers(tmp_path / "study")["own"].left_out)
    anatomies = read_anatomies(tmp_path / "study")
    assert "no such file" in anatomies.left_out["own"]
    assert list(anatomies.contenders) == ["linear"]


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        (
            "mlp",
            6,
            "mlp takes images of 8x8 pixels alone, not of 6x6; small_size is for models that take any",
        ),
        ("cnn", 6, "cnn takes images of 8x8 pixels alone"),
        ("resnet(depth=8, width=8)", 8, "small_size 8 is not smaller than the images (8x8 pixels)"),
    ],
)
def test_small_images_are_for_models_that_take_any_size(model: str, size: int, message: str) -> None:
    spec = RunSpec(model=model, recipe=Recipe(small_size=size), seed=0, val_size=10)
    with pytest.raises((ModelError, DataError), match=re.escape(message)):
        try_run(spec, some_images(), CPU, "fp32")
    able = RunSpec(model="resnet(depth=8, width=8)", recipe=Recipe(small_size=6), seed=0, val_size=10)
    assert try_run(able, some_images(), CPU, "fp32") == ()
