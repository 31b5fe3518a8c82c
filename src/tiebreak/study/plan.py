"""What is to be run: contenders x seeds on one data set, validated before anything is trained."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from tiebreak.calls import Call, parse_call, split_top_level
from tiebreak.data.names import DEFAULT_DATASET, dataset_name
from tiebreak.data.transform_names import parse_transform
from tiebreak.errors import DataError, ModelError, StudyError, did_you_mean
from tiebreak.files import is_there
from tiebreak.results.looks import DEFAULT_LOOKS, are_rising, looks_up_to
from tiebreak.settings import Settings
from tiebreak.study.equal import Budget, Equal, read_equal
from tiebreak.training.placement.placement import PrecisionChoice
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.recipe.space import Range, Ranges, Tuning, space_of

DEFAULT_SEEDS = 5
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")

MAX_SEED = 2**32 - 1  # what numpy.random.seed takes
MAX_SEEDS = 10_000  # in one study


def _expand_seeds(seeds: Any) -> Any:
    if type(seeds) is int and seeds <= MAX_SEEDS:
        return tuple(range(seeds))
    if isinstance(seeds, list | tuple):
        return seeds
    raise ValueError(f"expected a number of seeds such as 5, or a list such as [0, 1, 2], got {seeds!r}")


Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
# A number n means the seeds 0 to n-1.
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(_expand_seeds), Field(min_length=1)]


class Contender(Settings):
    """A label for a model, the recipe it is trained with, and what is done to its images before."""

    added_since = frozenset(("redraw", "search"))

    label: str = Field(min_length=1, max_length=200)
    model: str = Field(min_length=1)
    recipe: Recipe = Recipe()
    transforms: tuple[str, ...] = ()  # one after another, e.g. "permute-pixels", "test:blur(1.0)"
    train_fraction: float = Field(default=1.0, gt=0, le=1)  # of the training split
    redraw: bool = False  # train on as many images drawn from the training split with replacement
    search: Ranges = Field(default_factory=dict)  # its own ranges of settings, where a study is tuned

    @field_validator("transforms")
    @classmethod
    def _transforms_can_be_read(cls, transforms: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(str(parse_transform(text)) for text in transforms)
        except DataError as error:
            raise ValueError(str(error)) from None

    @field_validator("label")
    @classmethod
    def _label_can_be_printed(cls, label: str) -> str:
        if not label.isprintable():
            raise ValueError(f"{label!r} holds a character that cannot be printed")
        return label

    @field_validator("model")
    @classmethod
    def _model_can_be_read(cls, model: str) -> str:
        try:
            parse_call(model, ModelError)
        except ModelError as error:
            raise ValueError(str(error)) from None
        return model

    @property
    def folder(self) -> str:
        return folder_name(self.label)


def folder_name(label: str) -> str:
    """A label as a file name for any system; a label that had to be changed for it gets a hash."""
    safe = re.sub(r"[^A-Za-z0-9_.,=()+@-]", "_", label)[:80]
    if safe == label and not safe.startswith("."):
        return safe
    return f"_{safe}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


class DataChoice(Settings):
    """Which images: a data set's name and how its training part is divided."""

    name: Annotated[str, AfterValidator(dataset_name)] = DEFAULT_DATASET  # as --dataset
    data_dir: Path | None = None  # where its files lie; not part of what makes two studies the same
    resize: int | None = Field(default=None, ge=1, le=1024)  # height and width, for image folders
    skip_bad_images: bool = False  # of a folder; which were skipped shows in the images' fingerprint
    val_size: int | None = Field(default=None, ge=1)  # images; None: the data's own part, or a tenth
    stratify: bool = True  # as many images of each class in both parts, as far as it goes


class Execution(Settings):
    """Where and how runs are computed, as far as a user decides it."""

    device: str = "auto"  # auto, cpu, cuda, mps
    # Results repeat bit for bit for a given number. Left out: see settle_threads.
    threads: int = Field(default=1, ge=1, le=1024)  # of one run
    precision: PrecisionChoice = "auto"  # auto: bf16 where the device computes it faster, else fp32
    executor: Literal["auto", "serial", "processes", "ray"] = "auto"  # auto: processes where they save time
    workers: int | Literal["auto"] = "auto"  # processes side by side; auto: as many as cores and memory allow
    address: str | None = None  # of a Ray cluster; None: Ray starts on this machine
    cpus_per_run: float | None = Field(default=None, ge=0)  # what Ray keeps free for a run; None: its threads
    gpus_per_run: float = Field(default=0, ge=0)  # likewise; 0.25: four runs share a GPU
    checkpoint_seconds: float = Field(default=30.0, ge=0)  # between checkpoints inside an epoch
    retry_failed: bool = False  # train failed runs again

    @field_validator("workers", mode="before")
    @classmethod
    def _workers_are_a_number_or_auto(cls, workers: Any) -> Any:
        if isinstance(workers, str) and workers.isdecimal():
            workers = int(workers)  # from the command line
        if workers != "auto" and (type(workers) is not int or workers < 1):
            raise ValueError(f'expected "auto" or a whole number from 1, got {workers!r}.')
        return workers

    @model_validator(mode="after")
    def _settings_fit_the_executor(self) -> "Execution":
        for name in ("address", "cpus_per_run", "gpus_per_run"):
            if self.executor != "ray" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f'{name} is for executor = "ray", got it with "{self.executor}"')
        if self.executor in ("serial", "ray") and self.workers != "auto":
            raise ValueError(f'workers is for executor = "processes", got it with "{self.executor}"')
        return self


class Study(Settings):
    """Contenders x seeds on one data set."""

    added_since = frozenset(("superiority", "tune", "equal", "vary", "also_test"))

    contenders: tuple[Contender, ...] = Field(min_length=1)
    seeds: Seeds
    data: DataChoice = DataChoice()
    level: float = Field(default=0.95, gt=0.5, lt=1)  # of the intervals
    equivalence: float | None = Field(default=None, gt=0, lt=1)  # differences within it do not matter
    superiority: float | None = Field(default=None, gt=0, lt=1)  # whether one is better by so much is told
    baseline: str | None = None  # the label that all others are compared with; None: all with all
    looks: tuple[int, ...] | None = None  # numbers of seeds after which to judge and perhaps stop
    also_test: tuple[str, ...] = ()  # further test parts that the trained models are asked about
    # data: train as many runs again on training images that are drawn anew; disjoint: no two seeds share any
    vary: Literal["data", "disjoint"] | None = None
    equal: Annotated[Equal | None, BeforeValidator(read_equal)] = None  # decides the epochs of each contender
    tune: Tuning | None = None  # None: each contender keeps the recipe that it was given

    @model_validator(mode="after")
    def _searches_fit(self) -> "Study":
        searched = set(self.tune.search) if self.tune is not None else set()
        for contender in self.contenders:
            if unused := sorted(contender.search.keys() - searched):
                raise ValueError(
                    f"{contender.label}: it has a range for {unused[0]}, which no search asks about; see tune"
                )
            self.space_of(contender)
        if self.tune is None:
            return self
        measured = self.equal is not None and self.equal.what in (Budget.STEPS, Budget.SECONDS)
        if measured and "batch_size" in searched:
            raise ValueError(
                "equal steps or seconds need a batch size that is known beforehand; do not search batch_size"
            )
        searches = self.tune.searches
        if searches is not None and self.looks is not None:
            raise ValueError('seeds = "auto" searches anew in every seed; leave out searches')
        if searches is not None and (len(self.seeds) % searches or searches == len(self.seeds)):
            raise ValueError(
                f"{searches} searches need several seeds each, such as {2 * searches}, got {len(self.seeds)}"
            )
        return self

    @model_validator(mode="after")
    def _data_can_be_varied(self) -> "Study":
        if self.vary and (self.looks or self.tune):
            raise ValueError(
                f'vary = "{self.vary}" is for a fixed number of seeds and recipes that are given'
            )
        if self.vary and len(self.seeds) < 2:
            raise ValueError(f'vary = "{self.vary}" needs at least 2 seeds')
        return self

    @model_validator(mode="after")
    def _rules_fit(self) -> "Study":
        labels = [contender.label for contender in self.contenders]
        if self.equal is not None and self.equal.of not in (None, *labels):
            raise ValueError(f"equal: {self.equal.of!r} is no contender; choose from {', '.join(labels)}")
        for recipe in (contender.recipe for contender in self.contenders if self.equal is not None):
            if recipe.patience:
                raise ValueError("an equal budget is spent to its end; leave out patience (early stopping)")
            if recipe.small_size:
                raise ValueError("an equal budget counts images of one size; leave out small_size")
        if self.baseline is not None and self.baseline not in labels:
            raise ValueError(
                f"the baseline {self.baseline!r} is no contender; choose from {', '.join(labels)}"
            )
        if self.looks is None:
            return self
        if not are_rising(self.looks) or self.looks[-1] != len(self.seeds):
            listed = ", ".join(map(str, self.looks))
            raise ValueError(
                f"looks must be rising numbers of seeds from 2 on, such as 3,5,8, got {listed or 'none'}"
            )
        if len(labels) < 2:
            raise ValueError(
                'seeds = "auto" trains until a comparison is decided: name at least 2 contenders'
            )
        return self

    @model_validator(mode="after")
    def _names_are_distinct(self) -> "Study":
        labels = [contender.label for contender in self.contenders]
        for what, values in (
            ("contender", labels),
            ("seed", self.seeds),
            ("further test part", self.also_test),
        ):
            twice = [value for value, count in Counter(values).items() if count > 1]
            if twice:
                hint = "; give one a label, as in b=mlp" if what == "contender" else ""
                raise ValueError(f"the {what} {twice[0]!r} is there twice{hint}")
        return self

    def contender(self, label: str) -> Contender:
        return next(contender for contender in self.contenders if contender.label == label)

    def space_of(self, contender: Contender) -> dict[str, Range]:
        """The settings of a contender that are searched, each with its range; none where nothing is tuned.

        Raises: ValueError if one is no setting of its optimiser.
        """
        if self.tune is None:
            return {}
        try:
            return space_of(contender.recipe, self.tune.search, contender.search)
        except ValueError as error:
            raise ValueError(f"{contender.label}: {error}") from None

    def images_of_run(self, contender: Contender, images: int) -> float:
        """How many of the training split's images a run is trained on."""
        return images * contender.train_fraction / (len(self.seeds) if self.vary == "disjoint" else 1)

    @property
    def redrawn(self) -> "Study":
        """The same runs on training images that each seed draws anew."""
        contenders = tuple(each.model_copy(update={"redraw": True}) for each in self.contenders)
        return self.model_copy(update={"contenders": contenders, "vary": None})

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """The seeds that share a search: each its own, all, or so many to each of the searches."""
        if self.tune is None or (self.tune.searches is None and not self.tune.once):
            return tuple((seed,) for seed in self.seeds)
        size = len(self.seeds) // (self.tune.searches or 1)
        return tuple(self.seeds[start : start + size] for start in range(0, len(self.seeds), size))

    @property
    def identity(self) -> str:
        """A hash of all that decides the results, apart from the data's content and the machine."""
        plan = self.model_dump(mode="json", exclude={"data": {"data_dir", "skip_bad_images"}})
        return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def choose_seeds(
    seeds: int | Sequence[int] | None, looks: Sequence[int] | None = None, max_seeds: int | None = None
) -> dict[str, Any]:
    """The fields `seeds` and `looks` of a Study; no seeds means as many as it takes.

    Raises: StudyError for looks or a maximum where the number of seeds is fixed.
    """
    if seeds is not None:
        if looks is not None or max_seeds is not None:
            raise StudyError('looks and max_seeds are for seeds = "auto"; leave them out, or ask for auto.')
        return {"seeds": seeds}
    planned = tuple(looks or DEFAULT_LOOKS)
    if max_seeds is not None:
        planned = looks_up_to(max_seeds, planned)
    return {"seeds": max(planned), "looks": planned}


def parse_contender(
    text: str,
    recipe: Recipe,
    *,
    label: str | None = None,
    transforms: Sequence[str] = (),
    train_fraction: float = 1.0,
    search: dict[str, Any] | None = None,
) -> Contender:
    """Read `model`, `model(arguments)` or `label=model(arguments)`, then any `@transform(arguments)`.

    `label` goes before one in the text, `transforms` come after those in the text.

    Raises: ModelError or DataError if the text cannot be read; StudyError if another value does not fit.
    """
    text, *ats = split_top_level(text, "@")
    in_text = tuple(str(parse_transform(at)) for at in ats)
    named, equals, model = text.strip().partition("=")
    named = named.strip()
    if not equals or "(" in named or "/" in named or _is_of_a_file(text):
        call = parse_call(text, ModelError)
        named = "@".join((_short(call), *in_text))
    elif LABEL.fullmatch(named):
        call = parse_call(model, ModelError)
    else:
        raise ModelError(f"{named!r} is no label: use letters, digits and . _ + -, as in wide=cnn(width=64).")
    try:
        return Contender(
            label=label or "@".join((named, *transforms)),
            model=str(call),
            recipe=recipe,
            transforms=(*in_text, *transforms),
            train_fraction=train_fraction,
            search=search or {},
        )
    except ValidationError as error:
        raise StudyError(explain(error, Contender, TABLES)) from None


def _is_of_a_file(text: str) -> bool:
    """Whether a file of that very name is there, an equals sign in it and all."""
    return is_there(Path(text.partition(".py:")[0].strip() + ".py").expanduser())


def _short(call: Call) -> str:
    """A model as a label: of the path to a user's file its stem is enough."""
    path, _, name = call.name.rpartition(":")
    return str(replace(call, name=f"{Path(path).stem}:{name}")) if path.endswith(".py") else str(call)


def make_study(**fields: Any) -> Study:
    """A Study from its fields.

    Raises: StudyError, in one line that names the key, what was expected and what came.
    """
    try:
        return Study(**fields)
    except ValidationError as error:
        raise StudyError(explain(error, Study, TABLES)) from None


def make_recipe(base: Recipe, settings: dict[str, Any]) -> Recipe:
    """The recipe with some settings changed.

    Raises: StudyError, in one line that names the key, what was expected and what came.
    """
    try:
        return Recipe(**(base.model_dump() | settings))
    except ValidationError as error:
        raise StudyError(explain(error, Recipe, TABLES)) from None


TABLES: dict[str, type[BaseModel]] = {
    "data": DataChoice,
    "recipe": Recipe,
    "execution": Execution,
    "contenders": Contender,
    "tune": Tuning,
}


def explain(error: ValidationError, root: type[BaseModel], tables: dict[str, type[BaseModel]]) -> str:
    """The first complaint of a validation in one line: the key, what was expected, what came.

    `tables` names the model behind each key that holds a table, to find the nearest known key.
    """
    first = error.errors()[0]
    path = [part for part in first["loc"] if not str(part).startswith(("function-", "tuple[", "str"))]
    key = ".".join(f"[{part}]" if isinstance(part, int) else part for part in path).replace(".[", "[")
    if first["type"] == "extra_forbidden":
        parents = [part for part in path[:-1] if isinstance(part, str)]
        known = (tables[parents[-1]] if parents else root).model_fields
        return f'unknown key "{key}". {did_you_mean(str(path[-1]), known)}'
    if first["type"] == "value_error":
        complaint = str(first["ctx"]["error"])
        return f"{key}: {complaint}" if key else f"{complaint}."
    if first["type"] == "missing":
        return f'the key "{key}" is missing.'
    expected = first["msg"][0].lower() + first["msg"][1:]
    return f"{key}: {expected}, got {first['input']!r}."


def default_folder(study: Study) -> Path:
    """Where a study goes if nobody says: the same plan, the same folder, so asking again goes on with it."""
    names = "-vs-".join(contender.label for contender in study.contenders[:4])
    readable = re.sub(r"[^A-Za-z0-9_.+-]+", "-", f"{names}-on-{study.data.name}").strip("-.")[:80]
    return Path("tiebreak-studies") / f"{readable}-{study.identity[:6]}"
