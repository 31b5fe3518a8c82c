"""`tiebreak ablate`: what each piece of a recipe brings, by leaving out one at a time."""

from collections.abc import Sequence

from tiebreak.errors import StudyError, did_you_mean
from tiebreak.study.plan import Contender, Study
from tiebreak.training.recipe.recipe import Recipe

FULL = "all"
# Without them there is nothing to train by; they have values, but are no pieces that can be left out.
FRAME = ("optimizer", "lr", "adam_lr", "momentum", "epochs", "batch_size")
# What means nothing without another piece
TOGETHER = {
    "alternate_flip": "flip",
    "pad": "crop",
    "decay_norms": "weight_decay",
    "small_share": "small_size",
}


def pieces_of(recipe: Recipe) -> list[str]:
    """What a recipe does beyond the plain one, piece by piece."""
    return [
        name
        for name, field in Recipe.model_fields.items()
        if name not in FRAME and getattr(recipe, name) != field.default
    ]


def ablated(study: Study, without: Sequence[str] | None = None) -> Study:
    """The study of one contender with its whole recipe, and with each piece left out, all against the whole.

    Raises: StudyError if the study has other than one contender, or its recipe lacks a piece.
    """
    if len(study.contenders) != 1:
        raise StudyError(f"ablate takes one contender, got {len(study.contenders)}.")
    (whole,) = study.contenders
    there = pieces_of(whole.recipe)
    if not there:
        raise StudyError(
            "the recipe has no piece to leave out; choose one that has, as in --recipe regularised."
        )
    if study.baseline is not None or study.looks is not None:
        raise StudyError(
            "ablate compares with the whole recipe, over a number of seeds; leave out --baseline and auto."
        )
    chosen = list(dict.fromkeys(without or there))
    for name in chosen:
        if name not in there:
            raise StudyError(f"the recipe has no {name!r} to leave out. {did_you_mean(name, there)}")
    contenders = [whole.model_copy(update={"label": FULL}), *(_without(whole, name) for name in chosen)]
    equal = study.equal
    if equal is not None and equal.of is not None:
        raise StudyError("ablate: equal budgets follow the whole recipe; give --equal without a contender.")
    return study.model_copy(update={"contenders": tuple(contenders), "baseline": FULL})


def _without(whole: Contender, piece: str) -> Contender:
    """The contender with a piece, and what hangs on it, as in the plain recipe."""
    gone = [piece, *(name for name, other in TOGETHER.items() if other == piece)]
    plain = {name: Recipe.model_fields[name].default for name in gone}
    recipe = whole.recipe.model_copy(update=plain)
    return whole.model_copy(update={"label": f"without {piece}", "recipe": recipe})
