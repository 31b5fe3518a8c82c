"""What there is to look at without a study: models and their costs, one training step."""

from collections.abc import Sequence
from typing import Any

from tiebreak.data.dataset import ImageDataset
from tiebreak.models.catalog import BUILTIN, build_model, describe_factory
from tiebreak.models.cost import model_cost
from tiebreak.report.text.tables import (
    Table,
    short,
)
from tiebreak.rng import global_stream, stream
from tiebreak.study.plan import (
    make_recipe,
)
from tiebreak.training.anatomy import Anatomy, examine_step
from tiebreak.training.device import choose_device
from tiebreak.training.recipe import Recipe, make_criterion, make_optimizer


def examine(
    model: str, data: ImageDataset, *, seed: int = 0, device: str = "auto", **recipe_settings: Any
) -> Anatomy:
    """One training step of a freshly initialised model on the first batch of its run with that seed.

    Raises: ModelError or StudyError if the model or a recipe setting is wrong.
    """
    recipe = make_recipe(Recipe(), recipe_settings)
    where = choose_device(device)
    with global_stream(seed, "init"):
        network = build_model(model, data.image_shape, data.num_classes).to(where)
    batches = data.train.batches(recipe.batch_size, shuffle=True, generator=stream(seed, "order"))
    images, labels = next(iter(batches))
    with global_stream(seed, "dropout"):
        return examine_step(
            network,
            images.to(where),
            labels.to(where),
            make_criterion(recipe),
            make_optimizer(recipe, network),
        )


def model_table(data: ImageDataset, more: Sequence[str] = ()) -> Table:
    """The built-in models, and more that are named, with what they cost on the data set's images."""
    rows = []
    for text in [*BUILTIN, *more]:
        with global_stream(0, "init"):
            network = build_model(text, data.image_shape, data.num_classes)
        cost = model_cost(network, data.image_shape)
        rows.append((text, f"{cost.params:,}", short(cost.flops), describe_factory(text)))
    return Table(
        columns=("model", "params", "FLOPs/image", "arguments and defaults"),
        rows=tuple(rows),
        text_columns=("arguments and defaults",),
    )
