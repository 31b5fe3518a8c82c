"""What a report shows of the models' insides, kept in the study folder: it needs neither models nor data.

STUDY/layers.json    by contender: the chain of its layers as plain data
STUDY/anatomy.json   by contender: the first training step of its first finished seed
"""

from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from tiebreak.data.dataset import ImageDataset
from tiebreak.data.facts import Words
from tiebreak.errors import ModelError
from tiebreak.models.layers import describe_layers
from tiebreak.models.users_code import users_code
from tiebreak.results.anatomy import Anatomy
from tiebreak.results.chain import Chain
from tiebreak.sealed import read_sealed, write_sealed
from tiebreak.study.driver import make_task
from tiebreak.study.store import StoredStudy
from tiebreak.training.anatomy import examine_first_step
from tiebreak.training.spec import initial_model

LAYERS_FILE, ANATOMY_FILE = "layers.json", "anatomy.json"
REMEDY = "Remove it and give the command that made the study again."


class StoredLayers(BaseModel):
    """The content of layers.json."""

    model_config = ConfigDict(frozen=True)
    contenders: dict[str, Chain] = {}


class StoredAnatomy(BaseModel):
    """The content of anatomy.json. Infinity and NaN, which JSON lacks, are strings there."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")
    contenders: dict[str, Anatomy] = {}
    left_out: dict[str, Words] = {}  # why there is none


def keep_inside(stored: StoredStudy, data: ImageDataset) -> None:
    """Write layers.json and anatomy.json for the contenders that have a finished run.

    A model that cannot be looked into loses its pictures, with the reason, and nothing else.

    Raises: OSError if the folder cannot be written.
    """
    layers, anatomies, left_out = {}, {}, {}
    for contender in stored.study.contenders:
        label, seed = contender.label, next(iter(stored.finished(contender.label)), None)
        if seed is None:
            continue
        spec = make_task(stored.study, contender, seed, stored.header.data.val_images).spec
        try:
            with users_code(f"{contender.model} cannot be followed layer by layer"):
                layers[label] = describe_layers(initial_model(spec, data), data.image_shape)
        except ModelError as error:
            layers[label] = Chain(left_out=str(error))
        try:
            anatomies[label] = examine_first_step(spec, data, torch.device("cpu"))
        except ModelError as error:
            left_out[label] = str(error)
    write_sealed(stored.folder / LAYERS_FILE, StoredLayers(contenders=layers))
    write_sealed(stored.folder / ANATOMY_FILE, StoredAnatomy(contenders=anatomies, left_out=left_out))


def read_layers(folder: Path) -> dict[str, Chain]:
    """The chains by contender; none if the folder has no layers.json.

    Raises: StudyError if it is damaged.
    """
    return (read_sealed(folder, LAYERS_FILE, StoredLayers, REMEDY) or StoredLayers()).contenders


def read_anatomies(folder: Path) -> StoredAnatomy:
    """The first steps by contender; none if the folder has no anatomy.json.

    Raises: StudyError if it is damaged.
    """
    return read_sealed(folder, ANATOMY_FILE, StoredAnatomy, REMEDY) or StoredAnatomy()
