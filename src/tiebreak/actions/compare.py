"""`tiebreak compare`: contenders named in words, trained side by side and judged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from tiebreak.actions.judge import Verdicts
from tiebreak.actions.run import run
from tiebreak.data.dataset import ImageDataset
from tiebreak.study.plan import (
    DEFAULT_DATASET,
    DEFAULT_SEEDS,
    DataChoice,
    Execution,
    choose_seeds,
    make_recipe,
    make_study,
    parse_contender,
)
from tiebreak.training.recipe import Recipe


def compare(
    contenders: Sequence[str],
    data: str | ImageDataset = DEFAULT_DATASET,
    *,
    seeds: int | Sequence[int] | Literal["auto"] = DEFAULT_SEEDS,
    max_seeds: int | None = None,
    looks: Sequence[int] | None = None,
    equivalence: float | None = None,
    baseline: str | None = None,
    recipe: Recipe | None = None,
    out: Path | str | None = None,
    device: str = "auto",
    threads: int = 1,
    progress: bool = True,
    **recipe_settings: Any,
) -> Verdicts:
    """Train contenders side by side and judge them.

    Arguments: `contenders` - models as on the command line, e.g. ["mlp", "wide=cnn(width=64)"]; `data` - a
    data set or its name; `seeds` - how many, or which, or "auto": until it is decided, judged at `looks` and
    with at most `max_seeds`; `equivalence` - a difference that would not matter, 0.01 is one point;
    `baseline` - the label that all others are compared with; `recipe_settings` - what differs from `recipe`,
    e.g. epochs=10; `out` - the study folder, by default one named after the plan. If it holds a part of this
    study already, the rest is trained.

    Raises: TiebreakError of the kind that fits, before anything is trained, if a name or value is wrong.
    """
    base = make_recipe(recipe or Recipe(), recipe_settings)
    choice = DataChoice(name=data if isinstance(data, str) else data.name)
    study = make_study(
        contenders=tuple(parse_contender(text, base) for text in contenders),
        **choose_seeds(None if seeds == "auto" else seeds, looks, max_seeds),
        equivalence=equivalence,
        baseline=baseline,
        data=choice,
    )
    console = Console(quiet=not progress)
    execution = Execution(device=device, threads=threads)
    return run(
        study,
        execution,
        Path(out) if out else None,
        data if isinstance(data, ImageDataset) else None,
        console,
    )
