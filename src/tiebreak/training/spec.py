"""What a run is, and how its seed decides the images and the weights that it begins with."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from tiebreak.data.augment import Augment
from tiebreak.data.batches import Batches
from tiebreak.data.dataset import ImageDataset, Part
from tiebreak.data.mix import Mix
from tiebreak.data.subset import disjoint_part, redraw, take_fraction
from tiebreak.data.transform import transform_dataset
from tiebreak.errors import DataError, ModelError
from tiebreak.models.airnet import AirNet
from tiebreak.models.catalog import build_model
from tiebreak.models.source import source_hash
from tiebreak.rng import derive_seed, global_stream, stream
from tiebreak.settings import Settings
from tiebreak.training.recipe.recipe import Recipe, smaller

AUGMENTATIONS = ("flip", "crop", "pad", "cutout", "brightness", "contrast")
WHITENED_FROM = 5_000  # training images


class RunSpec(Settings):
    """Everything that a run's result depends on, beside the data and the machine."""

    added_since = frozenset(("redraw", "part"))

    model: str  # as the catalog reads it: "cnn(width=64)"
    recipe: Recipe
    seed: int
    val_size: int  # images of the training part kept for validation
    stratify: bool = True
    transforms: tuple[str, ...] = ()  # of the images, as `data.transform` reads them
    train_fraction: float = 1.0  # of the training split
    redraw: bool = False  # train on as many images drawn from it with replacement
    part: tuple[int, int] | None = None  # train on this one, from 0, of so many disjoint parts of it
    source: str | None = None  # hash of the model's code; None: whatever the code is


@dataclass(frozen=True, kw_only=True, eq=False)
class RunImages:
    """The images of one run, as its seed transforms, divides and orders them."""

    train: Batches  # shuffled and augmented
    val: Part
    test: Part
    streams: dict[str, torch.Generator]  # that the training batches draw from


def run_images(spec: RunSpec, data: ImageDataset) -> RunImages:
    """What a run trains, validates and is tested on; every draw has a stream of the run's seed.

    Raises: DataError if the split or a transform is impossible.
    """
    recipe, seed = spec.recipe, spec.seed
    data = transform_dataset(data, spec.transforms, seed)
    # Parts are disjoint where all seeds divide alike.
    dividing = seed if spec.part is None else 0
    train, val = data.split(spec.val_size, derive_seed(dividing, "split"), spec.stratify)
    if spec.part is not None:
        train = disjoint_part(train, *spec.part, stream(dividing, "part"))
    train = take_fraction(train, spec.train_fraction, stream(seed, "subset"))
    if spec.redraw:
        train = redraw(train, stream(seed, "redraw"))
    augment = Augment(**{name: getattr(recipe, name) for name in AUGMENTATIONS})
    purposes = ("order", "augment", *(("change",) if augment.changes else ()))
    streams = {purpose: stream(seed, purpose) for purpose in purposes}
    batches = train.batches(
        recipe.batch_size,
        shuffle=True,
        generator=streams["order"],
        augment=augment if augment.moves or augment.changes else None,
        augment_generator=streams["augment"],
        change_generator=streams.get("change"),
    )
    if recipe.alternate_flip:
        first = torch.rand(len(data.train), generator=stream(seed, "flip")) < 0.5
        batches = replace(batches, first_flips=first)
    if recipe.small_size:
        batches = replace(
            batches, small=small_shape(recipe, data.image_shape), small_epochs=recipe.small_epochs
        )
    mix = Mix(mixup=recipe.mixup, cutmix=recipe.cutmix)
    if mix.on:
        streams["mix"] = stream(seed, "mix")
        batches = replace(batches, mix=mix, mix_generator=streams["mix"], classes=data.num_classes)
    return RunImages(train=batches, val=val, test=data.test, streams=streams)


def small_shape(recipe: Recipe, image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Height and width of the images of the first epochs.

    Raises: DataError if they are not smaller.
    """
    _, height, width = image_shape
    if recipe.small_size >= min(height, width):
        raise DataError(
            f"small_size {recipe.small_size} is not smaller than the images ({height}x{width} pixels)."
        )
    return smaller(height, width, recipe.small_size)


def initial_model(spec: RunSpec, data: ImageDataset, train: Batches | None = None) -> nn.Module:
    """The model as its run begins; one that begins from training images needs `train`.

    Raises: ModelError if it cannot be built for this data, has nothing to train, or is of other code than
    the study began with.
    """
    with global_stream(spec.seed, "init"):
        model = build_model(spec.model, data.image_shape, data.num_classes)
    if spec.source not in (None, source_hash(spec.model)):
        raise ModelError(
            f"{spec.model}: its code was changed while the study ran; give the same command again."
        )
    parameters = list(model.parameters())
    if not any(parameter.requires_grad for parameter in parameters):
        why = "all its parameters are frozen (requires_grad=False)" if parameters else "it has no parameter"
        raise ModelError(f"{spec.model}: there is nothing to train: {why}.")
    if isinstance(model, AirNet) and model.whitening and train is not None:
        plain = replace(train, batch_size=WHITENED_FROM, shuffle=False, augment=None, small=None)
        model.whiten(next(iter(plain))[0])
    return model
