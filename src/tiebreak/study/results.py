"""A study folder as `Results`: what its finished runs predicted, and the rule that its plan declares."""

from collections.abc import Collection
from typing import Any

import numpy as np
from jaxtyping import Int64

from tiebreak.errors import StudyError
from tiebreak.results.results import ContenderRuns, Examples, Results, Rule
from tiebreak.results.run import Run
from tiebreak.study.alike import notes_on_runs
from tiebreak.study.plan import Contender, Study
from tiebreak.study.record import RunRecord
from tiebreak.study.store import REDRAWN, StoredStudy, read_study
from tiebreak.study.trial_notes import read_trials
from tiebreak.training.recipe.recipe import Recipe

WORDS = {"tta": "each test image with its mirror image"}  # of settings whose names say too little


def study_results(stored: StoredStudy) -> Results:
    """All that can be judged of a study.

    Raises: StudyError if a file of predictions is missing or damaged, or if no run has finished.
    """
    study, data = stored.study, stored.header.data
    redrawn = redrawn_study(stored)
    contenders = tuple(
        ContenderRuns(
            label=contender.label,
            redrawn={} if redrawn is None else _runs(redrawn, contender.label),
            runs=_runs(stored, contender.label),
            failed={
                seed: record.reason or ""
                for seed, record in stored.runs[contender.label].items()
                if record.status == "failed"
            },
            recipe=in_words(contender, study.tune.search if study.tune else ())
            + _own_images(stored, contender),
        )
        for contender in study.contenders
    )
    return Results(
        source=str(stored.folder),
        examples=Examples(
            name=data.name,
            class_names=data.class_names,
            truth=_truth(stored),
            fingerprint=data.fingerprint,
            verified=data.verified,
            notes=data.notes,
        ),
        rule=Rule(
            seeds=study.seeds,
            level=study.level,
            equivalence=study.equivalence,
            superiority=study.superiority,
            baseline=study.baseline,
            looks=study.looks,
            vary=study.vary,
            budget=None if study.equal is None else str(study.equal),
            **_of_tuning(study),
        ),
        contenders=tuple(contender for contender in contenders if contender.runs),
        without_runs=tuple(contender for contender in contenders if not contender.runs),
        notes=_notes(stored),
    )


def redrawn_study(stored: StoredStudy) -> StoredStudy | None:
    """The study of the same runs on training images that were drawn anew, if there is one.

    Raises: StudyError if it is damaged.
    """
    if stored.study.vary is None or not (stored.folder / REDRAWN / "study.json").is_file():
        return None
    return read_study(stored.folder / REDRAWN)


def _runs(stored: StoredStudy, label: str) -> dict[int, Run]:
    return {seed: _run(stored, record) for seed, record in stored.finished(label).items()}


def _of_tuning(study: Study) -> dict[str, Any]:
    """What a rule says of how contenders are tuned."""
    if study.tune is None:
        return {}
    what, trials = " and ".join(study.tune.search), f"the best of {study.tune.trials} trials by validation"
    how = (
        f"searched by {study.tune.searches} searches" if study.tune.searches else "searched anew in each seed"
    )
    if study.tune.once:
        how = "searched once"
    halving = ", most of them stopped early" if study.tune.halving else ""
    blocks = study.blocks if study.tune.searches else None
    return {"tuning": f"{what} {how}, {trials}{halving}", "blocks": blocks, "once": study.tune.once}


def _own_images(stored: StoredStudy, contender: Contender) -> str:
    """What is to be said of a recipe where no two seeds share training images."""
    if stored.study.vary != "disjoint":
        return ""
    data = stored.header.data
    images = stored.study.images_of_run(contender, data.train_images - data.val_images)
    return f", {int(images):,} training images of its own for each seed"


def in_words(contender: Contender, searched: Collection[str] = ()) -> str:
    """How a contender is trained: "5 epochs, Adam, lr 0.001", and what else is neither usual nor searched."""
    recipe, usual = contender.recipe, Recipe()
    name = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "muon": "Muon"}[recipe.optimizer]
    told = [f"{recipe.epochs} epoch{'s' if recipe.epochs > 1 else ''}", name]
    if recipe.patience:
        told[0] = f"up to {told[0]}, early stopping with patience {recipe.patience}"
    if "lr" not in searched:
        told.append(f"lr {recipe.lr:g}")
    for field, value in recipe:
        if field not in ("epochs", "patience", "optimizer", "lr", *searched) and value != getattr(
            usual, field
        ):
            told.append(_setting_in_words(field, value))
    if contender.train_fraction < 1:
        told.append(f"{contender.train_fraction:.3g} of the training images")
    return ", ".join(told)


def _setting_in_words(field: str, value: object) -> str:
    name = field.replace("_", " ")
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return WORDS.get(field, f"{name} {value}")


def _run(stored: StoredStudy, record: RunRecord) -> Run:
    predictions = stored.predictions(record.contender, record.seed)
    return Run(
        seed=record.seed,
        answers=predictions.test_probs.argmax(axis=1),
        probs=predictions.test_probs,
        val_probs=predictions.val_probs,
        val_truth=predictions.val_labels,
        history=record.history,
        kept_epoch=record.kept_epoch,
        cost=record.cost,
        timing=record.timing,
        tuned=record.tuned,
    )


def _truth(stored: StoredStudy) -> Int64[np.ndarray, " M"]:
    for contender in stored.study.contenders:
        for seed in stored.finished(contender.label):
            return stored.predictions(contender.label, seed).test_labels
    reasons = {run.reason for runs in stored.runs.values() for run in runs.values() if run.reason}
    raise StudyError(
        f"{stored.folder}: no run has finished{': ' if reasons else ''}{next(iter(reasons), '')}."
    )


def _notes(stored: StoredStudy) -> tuple[str, ...]:
    added = [
        f"seeds were added by hand ({added.before} -> {added.now}), so the stated error rate is no longer "
        "guaranteed; a study with --seeds auto may look early."
        for added in stored.header.seeds_added
    ]
    return (*read_trials(stored.folder, stored.runs), *added, *notes_on_runs(stored))
