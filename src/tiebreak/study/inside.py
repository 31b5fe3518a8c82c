"""What a report shows of the models' insides, kept in the study folder: it needs neither models nor data.

STUDY/layers.json    by contender: the chain of its layers as plain data
STUDY/anatomy.json   by contender: the first training step of its first finished seed
"""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tiebreak.data.dataset import ImageDataset
from tiebreak.data.subset import take_fraction
from tiebreak.data.transform import transform_dataset
from tiebreak.errors import StudyError
from tiebreak.files import atomic_write
from tiebreak.models.catalog import build_model
from tiebreak.models.layers import Chain, describe_layers
from tiebreak.rng import derive_seed, global_stream, stream
from tiebreak.study.plan import Contender
from tiebreak.study.store import StoredStudy
from tiebreak.training.anatomy import Anatomy, examine_step
from tiebreak.training.recipe import make_criterion, make_optimizer

LAYERS_FILE, ANATOMY_FILE = "layers.json", "anatomy.json"


class StoredLayers(BaseModel):
    """The content of layers.json."""

    model_config = ConfigDict(frozen=True)
    contenders: dict[str, Chain] = {}


class StoredAnatomy(BaseModel):
    """The content of anatomy.json. Infinity and NaN, which JSON lacks, are strings there."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")
    contenders: dict[str, Anatomy] = {}


Stored = TypeVar("Stored", StoredLayers, StoredAnatomy)


def keep_inside(stored: StoredStudy, data: ImageDataset) -> None:
    """Write layers.json and anatomy.json for the contenders that have a finished run.

    Raises: ModelError if a model can no longer be built; OSError if the folder cannot be written.
    """
    layers, anatomies = {}, {}
    for contender in stored.study.contenders:
        seeds = list(stored.finished(contender.label))
        if seeds:
            with global_stream(seeds[0], "init"):
                model = build_model(contender.model, data.image_shape, data.num_classes)
            layers[contender.label] = describe_layers(model, data.image_shape)
            anatomies[contender.label] = first_step(stored, contender, seeds[0], data)
    _write(stored.folder / LAYERS_FILE, StoredLayers(contenders=layers))
    _write(stored.folder / ANATOMY_FILE, StoredAnatomy(contenders=anatomies))


def first_step(stored: StoredStudy, contender: Contender, seed: int, data: ImageDataset) -> Anatomy:
    """The first training step of a run again, from the same weights on the same batch."""
    recipe = contender.recipe
    data = transform_dataset(data, contender.transforms, seed)
    train, _ = data.split(
        stored.header.data.val_images, derive_seed(seed, "split"), stored.study.data.stratify
    )
    train = take_fraction(train, contender.train_fraction, stream(seed, "subset"))
    batches = train.batches(
        recipe.batch_size,
        shuffle=True,
        generator=stream(seed, "order"),
        augment=recipe.augment,
        augment_generator=stream(seed, "augment"),
    )
    with global_stream(seed, "init"):
        model = build_model(contender.model, data.image_shape, data.num_classes)
    images, labels = next(iter(batches))
    with global_stream(seed, "dropout"):
        return examine_step(model, images, labels, make_criterion(recipe), make_optimizer(recipe, model))


def read_layers(folder: Path) -> dict[str, Chain]:
    """The chains by contender; none if the folder has no layers.json.

    Raises: StudyError if it is damaged.
    """
    return _read(folder / LAYERS_FILE, StoredLayers).contenders


def read_anatomies(folder: Path) -> dict[str, Anatomy]:
    """The first steps by contender; none if the folder has no anatomy.json.

    Raises: StudyError if it is damaged.
    """
    return _read(folder / ANATOMY_FILE, StoredAnatomy).contenders


def _write(path: Path, value: StoredLayers | StoredAnatomy) -> None:
    with atomic_write(path) as file:
        file.write(value.model_dump_json(indent=1).encode() + b"\n")


def _read(path: Path, kind: type[Stored]) -> Stored:
    if not path.is_file():
        return kind()
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "it is no JSON"
        raise StudyError(f"{path} is damaged ({where}). Remove it and run the study again.") from None
