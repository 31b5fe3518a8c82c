"""A study's progress in a terminal: a live bar, or a line an epoch where nobody looks on."""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from tiebreak.report.palette import contender_colours
from tiebreak.report.terminal.tables import say
from tiebreak.report.text.labels import short_labels
from tiebreak.report.text.tables import duration
from tiebreak.study.driver import Event
from tiebreak.study.plan import Study
from tiebreak.study.record import RunRecord
from tiebreak.study.where.task import RunId
from tiebreak.training.checkpoint import Resumed
from tiebreak.training.loop import EpochResult
from tiebreak.training.run import RunProgress

FIRST_SECONDS = 1.5  # after which the first estimate is made
WORTH_TELLING = 10.0  # seconds
ROOMY = 110  # columns; with fewer, the bar's line leaves out loss and speed


def show_progress(events: Iterator[Event], study: Study, console: Console) -> Iterator[Event]:
    """Pass the events on and show them: a live bar in a terminal, a line an epoch elsewhere."""
    if console.is_terminal:
        yield from _show_bar(events, study, console)
    else:
        yield from _show_lines(events, study, console)


def _show_lines(events: Iterator[Event], study: Study, console: Console) -> Iterator[Event]:
    current: RunId | None = None
    first = FirstEstimate(study)
    total = len(study.contenders) * len(study.seeds)
    for event in events:
        if told := first.hear(event):
            say(told, console)
        if isinstance(event.news, EpochResult | RunRecord) and event.run != current:
            say(f"{event.run.label}, seed {event.run.seed}", console)
            current = event.run
        if isinstance(event.news, EpochResult):
            say(str(event.news), console)
        elif isinstance(event.news, Resumed):
            say(f"{event.run.label}, seed {event.run.seed} {event.news}", console)
            current = event.run
        elif isinstance(event.news, RunRecord):
            say(f"{outcome(event.news)} ({event.ended} of {total} runs)", console)
        yield event


@dataclass
class FirstEstimate:
    """How long a study will take, by its first steps, told once."""

    study: Study
    speeds: dict[str, float] = field(default_factory=dict)  # images a second, by label
    batches: int = 0  # of an epoch
    at_work: set[RunId] = field(default_factory=set)  # runs seen side by side
    since: float = field(default_factory=time.monotonic)
    told: bool = False

    def hear(self, event: Event) -> str | None:
        """The estimate, once the first steps have taken a moment, and if there is long to wait."""
        news = event.news
        if self.told or not isinstance(news, RunProgress):
            return None
        self.speeds[event.run.label], self.batches = news.images_per_second, news.batches
        self.at_work.add(event.run)
        if time.monotonic() - self.since < FIRST_SECONDS:
            return None
        self.told, typical = True, sum(self.speeds.values()) / len(self.speeds)
        left = 0.0
        for contender in self.study.contenders:
            images = contender.recipe.epochs * self.batches * contender.recipe.batch_size
            left += images / self.speeds.get(contender.label, typical)
        left *= (len(self.study.seeds) - event.ended / len(self.study.contenders)) / len(self.at_work)
        return f"About {duration(left)} in all, by the first steps." if left > WORTH_TELLING else None


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
    labels = [contender.label for contender in study.contenders]
    colours, names = contender_colours(labels), short_labels(labels, max(12, console.width // 4))
    roomy = console.width >= ROOMY
    epochs = {c.label: c.recipe.epochs * len(study.seeds) for c in study.contenders}
    finished_epochs: float | None = None
    estimate, first = Estimate(left=dict(epochs)), FirstEstimate(study)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24 if roomy else 8),
        TaskProgressColumn(),
    )
    with Progress(*columns, TextColumn("{task.fields[left]}"), console=console, transient=True) as progress:
        task = progress.add_task("starting", total=sum(epochs.values()), left="")
        for event in events:
            if told := first.hear(event):
                progress.console.print(told, highlight=False)
            if finished_epochs is None:
                before = event.ended - isinstance(event.news, RunRecord)
                share = before / (len(study.contenders) * len(study.seeds))
                finished_epochs = share * sum(epochs.values())
                estimate.left = {each: round(number * (1 - share)) for each, number in epochs.items()}
            label = event.run.label
            name = f"[{colours[label]}]{escape(names[label])}[/] seed {event.run.seed}"
            if isinstance(event.news, RunProgress):
                part = finished_epochs + event.news.batch / event.news.batches
                progress.update(task, completed=part, description=f"{name} {_progress_text(event, roomy)}")
            elif isinstance(event.news, EpochResult):
                finished_epochs += 1
                estimate.epoch_done(event.run.label)
                progress.update(task, completed=finished_epochs, left=_time_left(estimate.seconds_left()))
            elif isinstance(event.news, Resumed):
                finished_epochs += event.news.epoch - 1
                estimate.left[event.run.label] -= event.news.epoch - 1
                progress.console.print(f"{name} {escape(str(event.news))}", highlight=False)
            else:
                skipped = event.run.epochs - _epochs_trained_now(event.news)
                finished_epochs += skipped
                estimate.left[label] -= skipped
                progress.console.print(f"{name}: {escape(outcome(event.news))}", highlight=False)
            yield event


def _epochs_trained_now(record: RunRecord) -> int:
    """Those that went by as events before a run's end: none of a run that is used again."""
    return len(record.history["val_acc"]) if record.history and not record.reused_from else 0


def _progress_text(event: Event, roomy: bool) -> str:
    news = event.news
    assert isinstance(news, RunProgress)
    text = f"epoch {news.epoch}/{event.run.epochs} acc {news.accuracy:.3f}"
    return f"{text} loss {news.loss:.3f} {news.images_per_second:,.0f} images/s" if roomy else text


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} left"


def outcome(record: RunRecord) -> str:
    """How a run ended, in one line."""
    if record.status == "failed":
        return f"failed: {record.reason}"
    val_acc = record.history["val_acc"][(record.kept_epoch or 0) - 1] if record.history else float("nan")
    seconds = record.timing.train_seconds if record.timing else float("nan")
    text = f"val acc {val_acc:.4f}, test acc {record.test_acc:.4f}, trained {seconds:.1f} s"
    if record.history and record.kept_epoch:
        text += f", epoch {record.kept_epoch} of {len(record.history['val_acc'])} kept"
    return f"used again from {record.reused_from}: {text}" if record.reused_from else f"finished: {text}"
