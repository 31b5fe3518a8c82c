"""Results: contenders x seeds on the same test images, and the rule by which they are to be judged.

A study folder is one way to make them; files and arrays made elsewhere are others. Making them checks what
every judgement relies on; what a reader must know beside the numbers is a note that travels with them.

Shape letters: M test images.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float64, Int64

from tiebreak.errors import EvidenceError
from tiebreak.results.run import Run


class Pairing(StrEnum):
    """What two runs with the same seed number share, and so what their difference shows."""

    PAIRED = "paired"  # split, order and augmentation
    UNPAIRED = "unpaired"  # nothing but the number
    FOLDS = "folds"  # a seed is a repeat of a cross-validation; the fold that tested an image answers for it


class Measure(StrEnum):
    """What is known of an answer."""

    CLASSES = "classes"  # which class was named
    CORRECTNESS = "correctness"  # whether it was right; the classes are "wrong" and "right"
    SCORES = "scores"  # any number of which more is better


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """The test images that all contenders were asked about."""

    name: str  # of the data set
    class_names: tuple[str, ...]
    truth: Int64[np.ndarray, " M"]
    fingerprint: str | None = None  # of the whole data set
    verified: bool | None = None  # whether it is known to be the published one
    notes: tuple[str, ...] = ()  # what must be known of them
    ids: np.ndarray | None = None  # one a test image, where they have names
    groups: np.ndarray | None = None  # of images that belong together (a patient, a film), one a test image


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a comparison is judged, fixed before its first run."""

    seeds: tuple[int, ...]  # that were planned
    level: float = 0.95  # of the intervals
    equivalence: float | None = None  # differences in accuracy within it do not matter
    superiority: float | None = None  # whether a difference in accuracy is at least so large is told
    baseline: str | None = None  # the contender that all others are compared with; None: all with all
    looks: tuple[int, ...] | None = None  # numbers of seeds after which to judge and perhaps stop
    pairing: Pairing = Pairing.PAIRED
    vary: str | None = None  # "data", "disjoint": the luck of the training images is counted, too
    budget: str | None = None  # what every contender was to spend, in words
    tuning: str | None = None  # how every contender's recipe was found, in words; None: it was given
    blocks: tuple[tuple[int, ...], ...] | None = None  # seeds that share a search; None: each has its own
    once: bool = False  # one search found what all seeds were trained with
    checkpoints: bool = False  # single runs are what is asked about, not what other seeds would give


@dataclass(frozen=True, kw_only=True, eq=False)
class ContenderRuns:
    """All runs of one contender."""

    label: str
    runs: dict[int, Run]  # finished, by seed in the order of the plan
    failed: dict[int, str]  # seed -> reason
    own: Examples | None = None  # its test images, where each contender was tested on others
    redrawn: dict[int, Run] = field(default_factory=dict)  # on training images that are drawn anew
    recipe: str | None = None  # how it was trained, in words: "5 epochs, Adam, lr 0.001"

    def ended(self, seed: int) -> bool:
        return seed in self.runs or seed in self.failed

    @property
    def why_none(self) -> str:
        """Why there is no run to judge, if there is none."""
        if not self.failed:
            return "no run has finished yet"
        reasons = "; ".join(reason for reason in dict.fromkeys(self.failed.values()) if reason)
        failed = f"all {len(self.failed)} runs failed" if len(self.failed) > 1 else "its run failed"
        return f"{failed} ({reasons})" if reasons else failed


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """What was predicted, by whom, on what.

    Raises: EvidenceError if a contender has no run or no name that can be printed, or a run's predictions are
    not one for each test image or of a class that the data do not have.
    """

    source: str  # where they come from, for messages: a folder, a file
    examples: Examples
    rule: Rule
    contenders: tuple[ContenderRuns, ...]  # each has a run, at least one of them
    without_runs: tuple[ContenderRuns, ...] = ()  # that were planned, but cannot be judged
    notes: tuple[str, ...] = ()  # what must be known beside the verdicts
    measure: Measure = Measure.CLASSES

    def __post_init__(self) -> None:
        for contender in self.contenders:
            if not contender.label.isprintable():
                raise EvidenceError(
                    f"{self.source}: a contender is called {contender.label!r}; give it a name "
                    "of one line that can be printed."
                )
            if not contender.runs:
                raise EvidenceError(f"{self.source}: {contender.label} has no run to be judged.")
            examples = contender.own or self.examples
            classes, images = len(examples.class_names), len(examples.truth)
            for seed, run in contender.runs.items():
                if len(run.answers) != images:
                    raise EvidenceError(
                        f"{self.source}: {contender.label}, seed {seed} has {len(run.answers):,} predictions "
                        f"for {images:,} test images."
                    )
                if images and not 0 <= run.answers.min() <= run.answers.max() < classes:
                    raise EvidenceError(
                        f"{self.source}: {contender.label}, seed {seed} predicts a class that is none of "
                        f"the {classes}."
                    )

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(contender.label for contender in self.contenders)

    @property
    def comparable(self) -> bool:
        """Whether there are two to be compared, the baseline among them."""
        baseline = self.rule.baseline
        return len(self.contenders) > 1 and (baseline is None or baseline in self.labels)

    def of(self, label: str) -> ContenderRuns:
        """The contender of that label.

        Raises: EvidenceError if there is none.
        """
        for contender in self.contenders:
            if contender.label == label:
                return contender
        for contender in self.without_runs:
            if contender.label == label:
                raise EvidenceError(f"{self.source}: {label} cannot be judged: {contender.why_none}.")
        raise EvidenceError(f"{self.source}: no contender {label!r}; there are {', '.join(self.labels)}.")

    def examples_of(self, label: str) -> Examples:
        """The test images that a contender was asked about."""
        return self.of(label).own or self.examples

    def ended(self, seed: int) -> bool:
        """Whether every contender has finished or failed that seed."""
        return all(contender.ended(seed) for contender in (*self.contenders, *self.without_runs))

    def up_to(self, seeds: Collection[int]) -> "Results":
        """The same with no other seeds than these."""
        kept = [
            replace(
                contender,
                runs={seed: run for seed, run in contender.runs.items() if seed in seeds},
                redrawn={seed: run for seed, run in contender.redrawn.items() if seed in seeds},
            )
            for contender in self.contenders
        ]
        return replace(
            self,
            contenders=tuple(contender for contender in kept if contender.runs),
            without_runs=(*self.without_runs, *(contender for contender in kept if not contender.runs)),
        )

    def correct(self, label: str) -> dict[int, Bool[np.ndarray, " M"]]:
        """Which test images each finished seed of a contender got right."""
        truth = self.examples_of(label).truth
        return {seed: run.correct(truth) for seed, run in self.of(label).runs.items()}

    def values(self, label: str) -> dict[int, Float64[np.ndarray, " M"]]:
        """What each finished seed of a contender reached on each test image: 1 or 0, or its score."""
        truth = self.examples_of(label).truth
        return {seed: run.values(truth) for seed, run in self.of(label).runs.items()}
