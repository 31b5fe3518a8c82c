"""What the files of a study folder say: the plan with its data, and the outcome of each run."""

from typing import Literal

from pydantic import Field

from tiebreak.data.facts import Count, Facts
from tiebreak.results.run import Cost, History, Timing, Tuned
from tiebreak.sealed import SCHEMA_VERSION
from tiebreak.settings import Settings
from tiebreak.study.plan import Seed, Study
from tiebreak.training.placement.placement import Machine, Placement


class Environment(Settings):
    """What results depend on beside plan and data: the machine and the versions. Recorded in every study."""

    tiebreak: str
    python: str
    torch: str
    numpy: str
    system: str
    processor: str
    cores: int


class DataFacts(Facts):
    """What a report must know of the data, so that it needs the data no more."""

    image_shape: tuple[Count, Count, Count]  # channels, height, width
    train_images: Count
    val_images: Count  # of the training images, in each run
    test_images: Count


class SeedsAdded(Settings):
    """Seeds that were added to a study of fixed size after others could be looked at."""

    before: int
    now: int
    when: str  # ISO 8601, UTC


class StudyHeader(Settings):
    """The content of study.json."""

    schema_version: int = SCHEMA_VERSION
    study: Study
    data: DataFacts
    environment: Environment
    created: str  # ISO 8601, UTC
    seeds_added: tuple[SeedsAdded, ...] = ()


class RunRecord(Settings):
    """The content of run.json. Schema version 1 had neither `identity` nor what follows it."""

    added_since = frozenset(("kept_epoch",))

    schema_version: int = SCHEMA_VERSION
    contender: str
    seed: Seed
    status: Literal["finished", "failed"]
    reason: str | None = None  # why it failed
    history: History | None = None
    kept_epoch: int | None = None  # whose weights were kept and tested, from 1; None: the last one's
    test_loss: float | None = None
    test_acc: float | None = None
    cost: Cost | None = None
    timing: Timing | None = None
    device: str | None = None
    threads: int | None = None
    resumed_inexactly: str | None = None  # why the last digits may differ from an uninterrupted run's
    micro_batches: int = 1  # that a batch was cut into to fit the device's memory
    placement: Placement | None = None  # number format and memory layout
    identity: str | None = None  # a hash of all that the result depends on beside the machine
    machine: Machine | None = None  # what its last digits depend on, too
    stored: str | None = None  # ISO 8601, UTC
    files: dict[str, str] = Field(default_factory=dict)  # SHA-256 of the files beside it
    tuned: Tuned | None = None  # how its recipe was found, where it was searched
    reused_from: str | None = None  # the study folder that it was copied from

    @property
    def is_sealed(self) -> bool:
        return self.schema_version > 1


def is_complete(run: RunRecord) -> bool:
    """Whether a finished run has what every report needs."""
    if run.history is None or None in (run.test_loss, run.test_acc, run.cost, run.timing):
        return False
    lengths = {len(run.history[name]) for name in ("train_loss", "train_acc", "val_loss", "val_acc")}
    return len(lengths) == 1 and 1 <= (run.kept_epoch or 1) <= min(lengths)
