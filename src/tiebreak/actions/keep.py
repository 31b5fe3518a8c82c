"""What the page of a study shows of its models and images, kept in its folder while both are at hand."""

import torch

from tiebreak.actions.judge import Verdicts, stored_of
from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import ModelError
from tiebreak.models.layers import describe_layers
from tiebreak.models.users_code import users_code
from tiebreak.report.page.sheet import keep_sheet
from tiebreak.results.chain import Chain
from tiebreak.rng import stream
from tiebreak.sealed import write_sealed
from tiebreak.study.driver import make_task
from tiebreak.study.inside import ANATOMY_FILE, LAYERS_FILE, StoredAnatomy, StoredLayers
from tiebreak.study.store import StoredStudy
from tiebreak.training.anatomy import examine_first_step
from tiebreak.training.spec import initial_model


def keep_for_the_page(verdicts: Verdicts, data: ImageDataset) -> None:
    """Write layers.json, anatomy.json and the images, so that `report` needs neither model nor data."""
    keep_inside(stored_of(verdicts), data)
    shuffled = torch.randperm(len(data.test), generator=stream(0, "sheet")).tolist()
    keep_sheet(verdicts.folder, verdicts.results, data.test_images.numpy(), shuffled)


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
