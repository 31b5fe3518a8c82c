"""Give every contender the epochs that make their budgets equal, before anything is trained."""

from pathlib import Path

from rich.console import Console

from tiebreak.actions.time_budget import probe
from tiebreak.data.dataset import ImageDataset
from tiebreak.models.catalog import build_model
from tiebreak.models.cost import model_cost
from tiebreak.models.users_code import users_code
from tiebreak.report.terminal.tables import say
from tiebreak.rng import global_stream
from tiebreak.study.equal import TRAINING_FLOPS, Budget, equal_epochs
from tiebreak.study.plan import Contender, Execution, Study
from tiebreak.study.store import read_study
from tiebreak.training.placement.device import choose_device, thread_count
from tiebreak.training.placement.precision import choose_precision


def with_equal_budgets(
    study: Study, folder: Path, data: ImageDataset, execution: Execution, console: Console
) -> Study:
    """The study with as many epochs for each contender as its budget pays.

    What the folder holds already keeps its epochs: seconds are measured once, when a study begins.

    Raises: StudyError if the folder is damaged; ModelError if a model cannot be built or fails.
    """
    if study.equal is None:
        return study
    asked = tuple(contender.recipe.epochs for contender in study.contenders)
    equal = study.equal.model_copy(update={"asked": asked})
    study = study.model_copy(update={"equal": equal})
    epochs = _epochs_there(study, folder)
    if epochs is None:
        with thread_count(execution.threads), console.status("Measuring an epoch of each contender"):
            costs = {
                contender.label: epoch_cost(contender, study, data, execution)
                for contender in study.contenders
            }
        epochs = equal_epochs(equal, {c.label: c.recipe.epochs for c in study.contenders}, costs)
    told = ", ".join(f"{label} {count}" for label, count in epochs.items())
    say(f"Equal budgets: {equal}. Epochs: {told}.", console)
    return with_epochs(study, epochs)


def with_epochs(study: Study, epochs: dict[str, int]) -> Study:
    """The study with other numbers of epochs, by label."""
    contenders = (
        each.model_copy(update={"recipe": each.recipe.model_copy(update={"epochs": epochs[each.label]})})
        for each in study.contenders
    )
    return study.model_copy(update={"contenders": tuple(contenders)})


def _epochs_there(study: Study, folder: Path) -> dict[str, int] | None:
    """What seconds gave when the study in the folder began, if it asks for the same budget; whatever else
    differs is told when the study is opened.
    """
    if study.equal is None or study.equal.what is not Budget.SECONDS or not (folder / "study.json").is_file():
        return None
    there = read_study(folder).study
    labels = [contender.label for contender in study.contenders]
    if there.equal != study.equal or [contender.label for contender in there.contenders] != labels:
        return None
    return {contender.label: contender.recipe.epochs for contender in there.contenders}


def epoch_cost(contender: Contender, study: Study, data: ImageDataset, execution: Execution) -> float:
    """What an epoch of a contender costs, in the unit of the study's budget."""
    assert study.equal is not None
    images = study.images_of_run(contender, len(data.train) - data.val_size(study.data.val_size))
    if study.equal.what is Budget.EPOCHS:
        return 1.0
    if study.equal.what is Budget.STEPS:
        return float(-(-round(images) // contender.recipe.batch_size))
    if study.equal.what is Budget.FLOPS:
        with global_stream(0, "probe"):
            model = build_model(contender.model, data.image_shape, data.num_classes)
        return TRAINING_FLOPS * model_cost(model, data.image_shape).flops * images
    device = choose_device(execution.device)
    with users_code(f"{contender.model} fails in a probe of its speed"):
        seconds, _ = probe(contender, data, device, choose_precision(execution.precision, device))
    return seconds * images
