"""Recipe: how a model is trained. The defaults are the case study's."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Recipe(BaseModel):
    """Everything that decides how weights follow from data, seed and architecture."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(default=1e-3, gt=0)  # learning rate, at its peak
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)  # of sgd
    schedule: Literal["constant", "cosine"] = "constant"  # cosine: from lr down to 0, a step a batch
    epochs: int = Field(default=5, ge=1)  # passes over the training split
    batch_size: int = Field(default=128, ge=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    flip: bool = False  # augmentation: mirror images left and right
    crop: int = Field(default=0, ge=0, le=64)  # augmentation: shift by up to this many pixels
