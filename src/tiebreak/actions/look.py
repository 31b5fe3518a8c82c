"""What there is to look at without a study: models and their costs, one training step."""

from collections.abc import Sequence
from typing import Any

from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import ModelError
from tiebreak.models.catalog import BUILTIN, build_model, describe_factory
from tiebreak.models.cost import model_cost
from tiebreak.report.text.tables import Table, by, short
from tiebreak.results.anatomy import Anatomy
from tiebreak.rng import global_stream
from tiebreak.study.plan import make_recipe
from tiebreak.training.anatomy import examine_first_step
from tiebreak.training.placement.device import choose_device
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.spec import RunSpec


def examine(
    model: str, data: ImageDataset, *, seed: int = 0, device: str = "auto", **recipe_settings: Any
) -> Anatomy:
    """One training step of a freshly initialised model on the first batch of its run with that seed.

    Raises: ModelError or StudyError if the model or a recipe setting is wrong.
    """
    spec = RunSpec(
        model=model,
        recipe=make_recipe(Recipe(), recipe_settings),
        seed=seed,
        val_size=data.val_size(),
    )
    return examine_first_step(spec, data, choose_device(device))


def model_table(data: ImageDataset, more: Sequence[str] = ()) -> Table:
    """The built-in models, and more that are named, with what they cost on the data set's images.

    Raises: ModelError if one that was named does not take these images; a built-in one is listed with why.
    """
    rows = []
    for text in [*BUILTIN, *more]:
        try:
            with global_stream(0, "init"):
                network = build_model(text, data.image_shape, data.num_classes)
        except ModelError as error:
            if text in more:
                raise
            rows.append((text, "-", "-", str(error)))
            continue
        cost = model_cost(network, data.image_shape)
        rows.append((text, f"{cost.params:,}", short(cost.flops), describe_factory(text)))
    return Table(
        columns=("model", "params", "FLOPs/image", "arguments and defaults"),
        rows=tuple(rows),
        text_columns=("arguments and defaults",),
    )


def dataset_facts(data: ImageDataset) -> list[tuple[str, str]]:
    """What is in a data set, a name and a text each."""
    return [
        ("images", f"{len(data.train):,} training, {len(data.test):,} test"),
        ("shape", f"{by(data.image_shape)} (C x H x W)"),
        ("mean", " ".join(f"{value:.4f}" for value in data.mean)),
        ("std", " ".join(f"{value:.4f}" for value in data.std)),
        ("fingerprint", data.fingerprint),
        *(("note", note) for note in data.notes),
    ]


def class_table(data: ImageDataset) -> Table:
    """How many images each class has."""
    counts = [part.targets.bincount(minlength=data.num_classes).tolist() for part in (data.train, data.test)]
    rows = zip(data.class_names, *counts, strict=True)
    return Table(
        columns=("class", "training", "test"),
        rows=tuple((name, f"{train:,}", f"{test:,}") for name, train, test in rows),
    )
