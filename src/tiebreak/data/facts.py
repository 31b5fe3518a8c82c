"""What is known of a data set beside its arrays: one shape for memory, cache, workers and study folders."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tiebreak.errors import printable

FEW_VAL_IMAGES = 100  # below it, one image is more than a point of accuracy


Words = Annotated[str, AfterValidator(printable)]
Count = Annotated[int, Field(ge=0)]


class Facts(BaseModel):
    """All of an `ImageDataset` but its arrays."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Words
    class_names: tuple[Words, ...] = Field(min_length=2)
    mean: tuple[float, ...]  # per channel, of the training part, pixels scaled to 0..1
    std: tuple[float, ...]
    fingerprint: Words  # SHA-256 of the content, in hexadecimal
    verified: bool = True  # False: complete, but not the official files that the name promises
    notes: tuple[Words, ...] = ()  # what every report about this data must mention
    own_val: Count = 0  # the last so many training images are a validation part that came with the data


def few_val_images(count: int) -> tuple[str, ...]:
    """The note about a small validation part, if `count` images are one."""
    if count >= FEW_VAL_IMAGES:
        return ()
    images = "1 validation image" if count == 1 else f"{count} validation images"
    return (f"{images}: too few to choose an epoch or a setting by (one is {1 / count:.1%})",)
