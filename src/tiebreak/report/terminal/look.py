"""A plan's seeds, and one training step, in a terminal."""

from rich.console import Console

from tiebreak.evidence.compare.power import MAX_SEEDS
from tiebreak.evidence.plan.budget import Budget
from tiebreak.report.terminal.tables import print_table, say
from tiebreak.report.text.tables import duration, gradient_table, layer_table, power_table, update_table
from tiebreak.results.anatomy import Anatomy


def print_budget(budget: Budget, console: Console) -> None:
    """What a difference takes: seeds, time, and what the test set can show at all."""
    say(f"Planned from {budget.basis.source}.", console)
    say(_how_many_seeds(budget), console)
    if budget.equivalence_seeds is not None:
        say(f"To show equal contenders equivalent within that: {budget.equivalence_seeds} seeds.", console)
    smallest = 100 * budget.advice.smallest_difference
    say(f"The smallest difference this test set can ever show: {smallest:.3g} points.\n", console)
    print_table(power_table(budget), console)


def _how_many_seeds(budget: Budget) -> str:
    advice, basis = budget.advice, budget.basis
    points = f"{100 * advice.difference:g}"
    what = f"a difference of {points} point{'' if points == '1' else 's'}"
    power = f"{advice.power_wanted:.0%} power"
    if advice.seeds is not None:
        each = basis.seconds_per_seed
        time = "" if each is None else f", {duration(advice.seeds * each)} of training"
        return f"To show {what} with {power}: {advice.seeds} seeds{time}."
    if advice.smallest_difference < advice.difference:
        return f"To show {what} with {power} takes more than {MAX_SEEDS:,} seeds: they differ too much."
    images = float(f"{basis.test_images * advice.test_set_factor:.2g}")
    return (
        f"No number of seeds shows {what} with {power} here: the test set of {basis.test_images:,} images is "
        f"too small; about {images:,.0f} would do."
    )


def print_anatomy(anatomy: Anatomy, model: str, console: Console) -> None:
    """One training step, in the order in which it happens."""

    def heading(text: str) -> None:
        say(f"\n{text}", console, style="bold")

    say(f"One training step of {model} on a batch of {anatomy.images} images", console)
    heading("1  Zero gradients")
    say("Gradients add up from step to step unless they are cleared; a new model has none.", console)
    heading("2  Forward")
    print_table(layer_table(anatomy), console)
    heading("3  Loss")
    say(f"cross entropy {anatomy.loss_before:.4f}", console)
    heading("4  Backward: the gradient of the loss for each parameter")
    print_table(gradient_table(anatomy), console)
    heading("5  Update")
    print_table(update_table(anatomy), console)
    heading("6  Loss on the same batch after the update")
    say(f"{anatomy.loss_before:.4f} -> {anatomy.loss_after:.4f}", console)
    for warning in anatomy.warnings:
        say(f"Warning: {warning}", console, style="bold red")
