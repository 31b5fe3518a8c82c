"""What `explain A B` can be asked, and which contenders each question needs to be trained."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from tiebreak.calls import Call, parse_call
from tiebreak.errors import ModelError, StudyError, did_you_mean
from tiebreak.study.plan import Contender

PERMUTED = "permute-pixels"
PERMUTATION_BLIND = ("mlp", "linear")  # models to which the order of the pixels means nothing
FRACTIONS = tuple(2.0**-power for power in range(5, -1, -1))  # of the training split: 1/32 ... 1


class Question(StrEnum):
    """What can be asked about B's lead over A."""

    ARRANGEMENT = "arrangement"  # does it need the arrangement of the pixels?
    LADDER = "ladder"  # how much do locality and weight sharing bring?
    CONTROL = "control"  # and in the other order: sharing first, then nearness?
    SIZE = "size"  # is it just size?
    DATA = "data"  # how does it depend on the amount of data?
    SHIFT = "shift"  # how do both break when test images are distorted?


DEFAULT_QUESTIONS = (Question.ARRANGEMENT, Question.LADDER)


class Ingredient(StrEnum):
    """What a step of a ladder adds."""

    LOCALITY = "locality"  # units that look at a neighbourhood
    SHARING = "weight sharing"  # the same filters at every position
    FAR_SHARING = "weight sharing without nearness"
    NEARNESS = "nearness"
    REST = "what remains"


def parse_questions(text: str) -> tuple[Question, ...]:
    """Read "arrangement,ladder"; the order of the result is that of `Question`.

    Raises: StudyError if a name is unknown.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in list(Question)]
    if unknown or not names:
        name = unknown[0] if unknown else ""
        raise StudyError(f'--ask: unknown question "{name}". {did_you_mean(name, list(Question))}')
    return tuple(question for question in Question if question in names)


def needed_contenders(questions: Iterable[Question], a: Contender, b: Contender) -> tuple[Contender, ...]:
    """A, B and all others that must be trained to answer the questions, each once."""
    needed = [a, b]
    for question in questions:
        if question is Question.ARRANGEMENT:
            needed += [permuted(a), permuted(b), *_with_permuted(blind_model(a, b))]
        elif question is Question.LADDER:
            needed += [rung for _, rung in ladder(a, b)]
        elif question is Question.CONTROL:
            needed += [rung for _, rung in control_ladder(a, b)]
        elif question is Question.SIZE:
            needed += [matched_mlp(b, by) for by in ("params", "flops")]
        elif question is Question.DATA:
            needed += [at_fraction(contender, part) for part in FRACTIONS for contender in (a, b)]
    return tuple({contender.label: contender for contender in needed}.values())


def permuted(contender: Contender) -> Contender:
    """The same on images whose pixels were permuted."""
    return _renamed(contender, f"@{PERMUTED}", transforms=(*contender.transforms, PERMUTED))


def blind_model(a: Contender, b: Contender) -> Contender:
    """The one whose accuracy a permutation cannot change: A or B if either is such, else an MLP."""
    for contender in (a, b):
        if parse_call(contender.model, ModelError).name in PERMUTATION_BLIND:
            return contender
    return _in_place_of(a, Call("mlp"))


def ladder(a: Contender, b: Contender) -> tuple[tuple[Ingredient | None, Contender], ...]:
    """From A to B: A, the locally connected model, the CNN and, if it is another one, B."""
    call = parse_call(b.model, ModelError)
    if call.name == "cnn":
        local = _in_place_of(b, Call("local", (), call.kwargs))
        return (None, a), (Ingredient.LOCALITY, local), (Ingredient.SHARING, b)
    local, cnn = _in_place_of(b, Call("local")), _in_place_of(b, Call("cnn"))
    return (None, a), (Ingredient.LOCALITY, local), (Ingredient.SHARING, cnn), (Ingredient.REST, b)


def control_ladder(a: Contender, b: Contender) -> tuple[tuple[Ingredient | None, Contender], ...]:
    """From A to B over a convolution with far-away taps: sharing comes first, nearness second."""
    call = parse_call(b.model, ModelError)
    arguments = call.kwargs if call.name == "cnn" else {}
    scattered = _in_place_of(b, Call("cnn-shuffled-taps", (), arguments))
    cnn = b if call.name == "cnn" else _in_place_of(b, Call("cnn"))
    rungs = ((None, a), (Ingredient.FAR_SHARING, scattered), (Ingredient.NEARNESS, cnn))
    return rungs if cnn is b else (*rungs, (Ingredient.REST, b))


def matched_mlp(b: Contender, by: str) -> Contender:
    """An MLP with the parameters ("params") or the arithmetic ("flops") of B."""
    return _in_place_of(b, Call("mlp", (), {"match": b.model, "by": by}))


def at_fraction(contender: Contender, fraction: float) -> Contender:
    """The same with a fraction of the training images and as many more epochs: the number of steps stays."""
    if fraction == 1:
        return contender
    epochs = round(contender.recipe.epochs / fraction)
    recipe = contender.recipe.model_copy(update={"epochs": epochs})
    return _renamed(contender, f" on 1/{round(1 / fraction)}", train_fraction=fraction, recipe=recipe)


def _with_permuted(contender: Contender) -> Sequence[Contender]:
    return contender, permuted(contender)


def _in_place_of(contender: Contender, call: Call) -> Contender:
    """Another model on the same images with the same recipe."""
    label = "@".join((str(call), *contender.transforms))
    return contender.model_copy(update={"label": label, "model": str(call)})


def _renamed(contender: Contender, ending: str, **changes: object) -> Contender:
    return contender.model_copy(update={"label": contender.label + ending, **changes})
