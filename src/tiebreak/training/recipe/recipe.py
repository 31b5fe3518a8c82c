"""Recipe: how a model is trained. The defaults are the case study's."""

from typing import Literal

from pydantic import Field, model_validator

from tiebreak.settings import Settings


class Recipe(Settings):
    """Everything that decides how weights follow from data, seed and architecture."""

    added_since = (
        frozenset(("warmup", "nesterov", "decay_norms", "clip", "pad", "cutout", "brightness", "contrast"))
        | {"adam_lr", "ema", "mixup", "cutmix", "alternate_flip", "tta"}
        | {"patience", "small_size", "small_share"}
    )

    optimizer: Literal["adam", "adamw", "sgd", "muon"] = "adam"  # what turns gradients into updates
    lr: float = Field(default=1e-3, gt=0)  # learning rate, at its peak
    adam_lr: float = Field(default=1e-3, gt=0)  # of what muon leaves to AdamW: biases, norms, output layer
    weight_decay: float = Field(default=0.0, ge=0)  # how strongly weights are pulled towards 0
    decay_norms: bool = True  # whether it pulls at biases and normalisations, too
    momentum: float = Field(default=0.9, ge=0, lt=1)  # of sgd and muon
    nesterov: bool = False  # of sgd; muon always has it
    clip: float = Field(default=0.0, ge=0)  # the largest norm of a step's gradient; 0: any
    ema: float = Field(
        default=0.0, ge=0, lt=1
    )  # decay of the mean of weights that is judged; 0: the last weights
    schedule: Literal["constant", "cosine", "linear"] = (
        "constant"  # the others: from lr down to 0, a step a batch
    )
    warmup: float = Field(default=0.0, ge=0, lt=1)  # share of the steps in which lr rises from 0 to its peak
    epochs: int = Field(default=5, ge=1)  # passes over the training split
    # Early stopping: the best epoch, by validation, is what is stored and tested
    patience: int = Field(default=0, ge=0)  # stop after so many epochs without a better one; 0: never
    batch_size: int = Field(default=128, ge=1)  # images in a step
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)  # share of the target that all classes get
    # Augmentation of training images, each time they are shown
    flip: bool = False  # mirror left and right, at random
    alternate_flip: bool = False  # at random in the first epoch, then the other way round each time
    crop: int = Field(default=0, ge=0, le=64)  # shift by up to this many pixels
    pad: Literal["black", "reflect"] = "black"  # what a shift brings in from outside
    cutout: int = Field(
        default=0, ge=0, le=256
    )  # the side of a square that gets the mean colour, at a random place
    brightness: float = Field(default=0.0, ge=0, lt=1)  # times up to 1 +- this
    contrast: float = Field(default=0.0, ge=0, lt=1)  # likewise, about the image's own mean
    mixup: float = Field(default=0.0, ge=0, le=10)  # blend images of a batch; of Beta(a, a), 0: off
    cutmix: float = Field(default=0.0, ge=0, le=10)  # paste a box of one into another; likewise
    # Progressive image size, for models that take any: fewer pixels cost less while little is learnt yet
    small_size: int = Field(default=0, ge=0, le=256)  # the shorter side in the first epochs; 0: as it is
    small_share: float = Field(default=0.5, gt=0, lt=1)  # of the epochs, rounded, that see small images
    # When the trained model is asked
    tta: Literal["none", "mirror"] = "none"  # mirror: mean logits of the image and its mirror image

    @model_validator(mode="after")
    def _pieces_fit(self) -> "Recipe":
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov is for sgd with momentum")
        if self.alternate_flip and not self.flip:
            raise ValueError("alternate_flip is a way to flip; set flip as well (--flip)")
        return self

    @property
    def small_epochs(self) -> int:
        """How many epochs, from the first on, see small images."""
        return round(self.small_share * self.epochs) if self.small_size else 0

    def pixels_shown(self, height: int, width: int) -> float:
        """The share of the pixels of all epochs that is left with `small_size`."""
        small_height, small_width = smaller(height, width, self.small_size)
        saved = 1 - small_height * small_width / (height * width)
        return 1 - saved * self.small_epochs / self.epochs


def smaller(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width in pixels when the shorter of them has become `side`; 0: as they are."""
    factor = side / min(height, width) if side else 1.0
    return round(height * factor), round(width * factor)
