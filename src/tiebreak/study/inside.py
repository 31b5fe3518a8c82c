"""What a report shows of the models' insides, kept in the study folder: it needs neither models nor data.

STUDY/layers.json    by contender: the chain of its layers as plain data
STUDY/anatomy.json   by contender: the first training step of its first finished seed
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tiebreak.data.facts import Words
from tiebreak.results.anatomy import Anatomy
from tiebreak.results.chain import Chain
from tiebreak.sealed import read_sealed

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
