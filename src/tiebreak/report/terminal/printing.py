"""What a person sees in a terminal: live progress, tables, the verdict."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table as RichTable

from tiebreak.data.dataset import ImageDataset
from tiebreak.evidence.compare.judgement import Judgement, uncertainty
from tiebreak.evidence.compare.power import MAX_SEEDS
from tiebreak.evidence.compare.simultaneous import Ranking
from tiebreak.evidence.plan.budget import Budget
from tiebreak.report.palette import contender_colours
from tiebreak.report.text.tables import (
    Table,
    duration,
    gradient_table,
    layer_table,
    power_table,
    ranking_table,
    update_table,
)
from tiebreak.study.driver import Event
from tiebreak.study.plan import Study
from tiebreak.study.record import RunRecord
from tiebreak.study.where.task import RunId
from tiebreak.training.anatomy import Anatomy
from tiebreak.training.checkpoint import Resumed
from tiebreak.training.loop import EpochResult
from tiebreak.training.run import RunProgress

FEW_PAIRS = 3  # with more, where each uncertainty comes from is left to the JSON


def show_progress(events: Iterator[Event], study: Study, console: Console) -> Iterator[Event]:
    """Pass the events on and show them: a live bar in a terminal, a line an epoch elsewhere."""
    if console.is_terminal:
        yield from _show_bar(events, study, console)
    else:
        yield from _show_lines(events, study, console)


def _show_lines(events: Iterator[Event], study: Study, console: Console) -> Iterator[Event]:
    current: RunId | None = None
    total = len(study.contenders) * len(study.seeds)
    for event in events:
        if isinstance(event.news, EpochResult | RunRecord) and event.run != current:
            console.print(f"{event.run.label}, seed {event.run.seed}", markup=False, highlight=False)
            current = event.run
        if isinstance(event.news, EpochResult):
            console.print(str(event.news), markup=False, highlight=False, soft_wrap=True)
        elif isinstance(event.news, Resumed):
            text = f"{event.run.label}, seed {event.run.seed} {event.news}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
            current = event.run
        elif isinstance(event.news, RunRecord):
            text = f"{outcome(event.news)} ({event.ended} of {total} runs)"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        yield event


@dataclass
class Estimate:
    """Time left, from what each contender's epochs took so far."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by label
    left: dict[str, int] = field(default_factory=dict)  # epochs by label
    last: float = field(default_factory=time.monotonic)

    def epoch_done(self, label: str) -> None:
        now = time.monotonic()
        self.seconds[label].append(now - self.last)
        self.left[label] -= 1
        self.last = now

    def seconds_left(self) -> float | None:
        """None until an epoch is done. A contender not seen yet is taken to be like the others."""
        known = {label: sum(times) / len(times) for label, times in self.seconds.items() if times}
        if not known:
            return None
        typical = sum(known.values()) / len(known)
        return sum(epochs * known.get(label, typical) for label, epochs in self.left.items())


def _show_bar(events: Iterator[Event], study: Study, console: Console) -> Iterator[Event]:
    colours = contender_colours([contender.label for contender in study.contenders])
    epochs = {c.label: c.recipe.epochs * len(study.seeds) for c in study.contenders}
    finished_epochs: float | None = None
    estimate = Estimate(left=dict(epochs))
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn())
    with Progress(*columns, TextColumn("{task.fields[left]}"), console=console, transient=True) as progress:
        task = progress.add_task("starting", total=sum(epochs.values()), left="")
        for event in events:
            if finished_epochs is None:
                before = event.ended - isinstance(event.news, RunRecord)
                share = before / (len(study.contenders) * len(study.seeds))
                finished_epochs = share * sum(epochs.values())
                estimate.left = {label: round(number * (1 - share)) for label, number in epochs.items()}
            name = f"[{colours[event.run.label]}]{escape(event.run.label)}[/] seed {event.run.seed}"
            if isinstance(event.news, RunProgress):
                part = finished_epochs + event.news.batch / event.news.batches
                progress.update(task, completed=part, description=f"{name} {_progress_text(event)}")
            elif isinstance(event.news, EpochResult):
                finished_epochs += 1
                estimate.epoch_done(event.run.label)
                progress.update(task, completed=finished_epochs, left=_time_left(estimate.seconds_left()))
            elif isinstance(event.news, Resumed):
                finished_epochs += event.news.epoch - 1
                estimate.left[event.run.label] -= event.news.epoch - 1
                progress.console.print(f"{name} {escape(str(event.news))}", highlight=False)
            else:
                if event.news.reused_from:
                    finished_epochs += event.run.epochs
                    estimate.left[event.run.label] -= event.run.epochs
                progress.console.print(f"{name}: {escape(outcome(event.news))}", highlight=False)
            yield event


def _progress_text(event: Event) -> str:
    news = event.news
    assert isinstance(news, RunProgress)
    return (
        f"epoch {news.epoch}/{event.run.epochs} loss {news.loss:.3f} acc {news.accuracy:.3f} "
        f"{news.images_per_second:,.0f} images/s"
    )


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} left"


def outcome(record: RunRecord) -> str:
    """How a run ended, in one line."""
    if record.status == "failed":
        return f"failed: {record.reason}"
    val_acc = record.history["val_acc"][-1] if record.history else float("nan")
    seconds = record.timing.train_seconds if record.timing else float("nan")
    text = f"val acc {val_acc:.4f}, test acc {record.test_acc:.4f}, trained {seconds:.1f} s"
    return f"used again from {record.reused_from}: {text}" if record.reused_from else f"finished: {text}"


def print_table(table: Table, console: Console, coloured: bool = True) -> None:
    """A table with numbers to the right; contenders' names in their colours. Nothing is cut off."""
    colours = contender_colours([row[0] for row in table.rows]) if coloured else {}
    rich_table = RichTable(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(table.columns):
        is_text = index == 0 or column in table.text_columns
        rich_table.add_column(column, justify="left" if is_text else "right", no_wrap=not is_text)
    for name, *rest in table.rows:
        styled = f"[{colours[name]}]{escape(name)}[/]" if name in colours else escape(name)
        rich_table.add_row(styled, *map(escape, rest))
    console.print(rich_table)


def print_evidence(
    ranking: Ranking | None, judgements: Sequence[Judgement], notes: Sequence[str], console: Console
) -> None:
    """The ranking where there are more than two contenders, the verdicts, and what must be known beside."""
    if ranking is not None and len(ranking.standings) > 2:
        print_table(ranking_table(ranking), console)
        sure = f"{ranking.level:.0%}"
        told = "Contenders that share a letter could not be told apart. " if ranking.baseline is None else ""
        say(f"{told}The truly best is among those marked, with a confidence of at least {sure}.\n", console)
    for judgement in judgements:
        console.print(judgement.sentence, style="bold", markup=False, highlight=False, soft_wrap=True)
        beside = (judgement.beside, uncertainty(judgement.verdict.comparison))
        for line in beside if len(judgements) <= FEW_PAIRS else ():
            if line is not None:
                say(f"  {line}", console)
    for note in notes:
        say(f"Note: {note}", console)


def print_budget(budget: Budget, console: Console) -> None:
    """What a difference takes: seeds, time, and what the test set can show at all."""
    say(f"Planned from {budget.basis.source}.", console)
    say(_how_many_seeds(budget), console)
    if budget.equivalence_seeds is not None:
        say(f"To show equal contenders equivalent within that: {budget.equivalence_seeds} seeds.", console)
    smallest = 100 * budget.advice.smallest_difference
    say(f"The smallest difference this test set can ever show: {smallest:.3g} points.\n", console)
    print_table(power_table(budget), console, coloured=False)


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


def say(text: str, console: Console) -> None:
    """One plain line, never cut or coloured."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_dataset(data: ImageDataset, console: Console) -> None:
    """What is in a data set."""
    console.print(f"[bold]{escape(data.name)}[/]", highlight=False)
    own_val = f" ({data.own_val:,} of them for validation)" if data.own_val else ""
    images = f"{len(data.train):,} training{own_val}, {len(data.test):,} test"
    console.print(f"images       {images}", highlight=False)
    console.print(f"shape        {' x '.join(map(str, data.image_shape))} (C x H x W)", highlight=False)
    for name, values in (("mean", data.mean), ("std", data.std)):
        console.print(f"{name:<12} {' '.join(f'{value:.4f}' for value in values)}", highlight=False)
    console.print(f"fingerprint  {data.fingerprint}", highlight=False)
    for note in data.notes:
        console.print(f"note         {note}", markup=False, highlight=False)
    console.print()
    counts = [part.targets.bincount(minlength=data.num_classes).tolist() for part in (data.train, data.test)]
    rows = zip(data.class_names, *counts, strict=True)
    table = Table(
        columns=("class", "training", "test"),
        rows=tuple((name, f"{train:,}", f"{test:,}") for name, train, test in rows),
    )
    print_table(table, console, coloured=False)


def print_anatomy(anatomy: Anatomy, model: str, console: Console) -> None:
    """One training step, in the order in which it happens."""

    def heading(text: str) -> None:
        console.print(f"\n[bold]{text}[/]", highlight=False)

    console.print(
        f"One training step of {escape(model)} on a batch of {anatomy.images} images", highlight=False
    )
    heading("1  Zero gradients")
    console.print("Gradients add up from step to step unless they are cleared; a new model has none.")
    heading("2  Forward")
    print_table(layer_table(anatomy), console, coloured=False)
    heading("3  Loss")
    console.print(f"cross entropy {anatomy.loss_before:.4f}", highlight=False)
    heading("4  Backward: the gradient of the loss for each parameter")
    print_table(gradient_table(anatomy), console, coloured=False)
    heading("5  Update")
    print_table(update_table(anatomy), console, coloured=False)
    heading("6  Loss on the same batch after the update")
    console.print(f"{anatomy.loss_before:.4f} -> {anatomy.loss_after:.4f}", highlight=False)
    for warning in anatomy.warnings:
        console.print(f"Warning: {warning}", style="bold red", markup=False, highlight=False)
