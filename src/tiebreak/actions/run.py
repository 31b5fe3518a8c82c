"""Train what is missing of a study, judge it, and write its figures and its page."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from tiebreak.actions.also_test import ask_about, load_parts
from tiebreak.actions.equal import with_equal_budgets
from tiebreak.actions.judge import Verdicts, judge
from tiebreak.actions.keep import keep_for_the_page
from tiebreak.actions.load import load
from tiebreak.actions.report import draw_all
from tiebreak.data.dataset import ImageDataset
from tiebreak.evidence.compare.until_decided import take_looks
from tiebreak.report.terminal.tables import say
from tiebreak.sinks.terminal import show_progress
from tiebreak.study.driver import run_study
from tiebreak.study.plan import (
    Execution,
    Study,
    default_folder,
)
from tiebreak.study.results import redrawn_study, study_results
from tiebreak.study.stop import StopRequest
from tiebreak.study.store import REDRAWN, read_study
from tiebreak.study.tuning import Step, run_searches
from tiebreak.training.placement.device import choose_device


def run(
    study: Study,
    execution: Execution | None = None,
    out: Path | None = None,
    data: ImageDataset | None = None,
    console: Console | None = None,
    stop: StopRequest | None = None,
) -> Verdicts:
    """Train what is missing of a study, judge it, and write its figures and its page.

    `data`: loaded by name if not given.

    Raises: TiebreakError of the kind that fits if a name, value, file or folder is wrong; StoppedError once
    `stop` is set and what is under way is stored.
    """
    console = console or Console(quiet=True)
    folder = out or default_folder(study)
    if data is None:
        data = load(study.data, console)
    parts = load_parts(study, data)
    execution = execution or Execution()
    study = with_equal_budgets(study, folder, data, execution, console)
    trained = 0
    for seeds in seeds_to_train(study, folder):
        if trained:
            say(f"Not decided at {trained} seeds: going on to {len(seeds)}.", console)
        trained = len(seeds)
        for step in steps_to_train(study, data, folder, execution, seeds, stop):
            if step.title:
                say(step.title, console)
            for _ in show_progress(step.events, step.study, console):
                pass
    if parts:
        stored = read_study(folder)
        for asked in filter(None, (stored, redrawn_study(stored))):
            ask_about(asked, parts, data, choose_device(execution.device), console)
    verdicts = judge(folder)
    with console.status("Drawing figures and writing the page"):
        keep_for_the_page(verdicts, data)
        return draw_all(verdicts)


def steps_to_train(
    study: Study,
    data: ImageDataset,
    folder: Path,
    execution: Execution,
    seeds: tuple[int, ...],
    stop: StopRequest | None,
) -> Iterator[Step]:
    """The work for some of a study's seeds: one step, or its searches one after another."""
    if study.tune is not None:
        yield from run_searches(study, data, folder, execution, seeds, stop)
    else:
        events = run_study(study, data, folder, execution, seeds, stop)
        yield Step(title="", study=study.model_copy(update={"seeds": seeds}), events=events)
    if study.vary == "data":
        place, studies = folder / REDRAWN, folder.parent
        events = run_study(study.redrawn, data, place, execution, stop=stop, studies=studies)
        yield Step(title="Training images drawn anew", study=study.redrawn, events=events)


def seeds_to_train(study: Study, folder: Path) -> Iterator[tuple[int, ...]]:
    """The seeds that are to be trained now: all at once, or up to each look until the rule says stop.

    Between two of them, the caller trains what the folder lacks.
    """
    if study.looks is None:
        yield study.seeds
        return
    for count in study.looks:
        yield study.seeds[:count]
        state, _ = take_looks(study_results(read_study(folder)))
        if state.stopped:
            return
