"""`tiebreak explain A B`: train what the questions need, answer them, write and print the answers."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from tiebreak.actions.compare import read_call
from tiebreak.actions.distort import measure_distortions, measured_answers
from tiebreak.actions.judge import judge
from tiebreak.actions.keep import keep_for_the_page
from tiebreak.actions.load import load
from tiebreak.actions.page import write_study_page
from tiebreak.actions.report import failure_note
from tiebreak.actions.time_budget import Pick, parse_budget, pick, seconds_of_seed
from tiebreak.data.dataset import ImageDataset
from tiebreak.data.names import DEFAULT_DATASET
from tiebreak.errors import EvidenceError, StudyError
from tiebreak.evidence.why.answers import Explanation
from tiebreak.evidence.why.efficiency import DataRung, answer_data
from tiebreak.evidence.why.robustness import answer_shift
from tiebreak.evidence.why.spatial import Ladder, answer_arrangement, answer_ladder, answer_size
from tiebreak.report.page import PAGE_FILE
from tiebreak.report.terminal.console import TerminalConsole
from tiebreak.report.terminal.tables import say, say_path
from tiebreak.report.text.explained import EXPLAIN_FILE, explanation_as_json
from tiebreak.sealed import read_sealed, write_sealed
from tiebreak.sinks.terminal import show_progress
from tiebreak.study.driver import make_task, run_study
from tiebreak.study.plan import (
    Contender,
    Execution,
    Study,
)
from tiebreak.study.questions import (
    DEFAULT_QUESTIONS,
    FRACTIONS,
    Question,
    at_fraction,
    blind_model,
    control_ladder,
    ladder,
    matched_mlp,
    needed_contenders,
    parse_questions,
    permuted,
)
from tiebreak.study.results import study_results
from tiebreak.study.stop import StopRequest
from tiebreak.study.store import StoredStudy, read_study
from tiebreak.study.where.fork_server import has_early_server
from tiebreak.study.where.machine import choose_workers, this_machine
from tiebreak.study.writing import extend_study
from tiebreak.training.placement.device import choose_device, thread_count
from tiebreak.training.placement.precision import choose_precision

DEFAULT_SEEDS = 3
BUDGET_FILE = "budget.json"

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be explained: a study of A and B alone, the questions, and a time in seconds to fit into."""

    study: Study
    questions: tuple[Question, ...] = DEFAULT_QUESTIONS
    budget: float | None = None
    out: Path | None = None

    @property
    def pair(self) -> tuple[Contender, Contender]:
        a, b = self.study.contenders
        return a, b

    @property
    def folder(self) -> Path:
        """Where runs and answers go. Without a budget, other questions and more seeds share a folder."""
        if self.out is not None:
            return self.out
        plan = self.study.model_dump(mode="json", exclude={"data": {"data_dir"}, "seeds": True})
        if self.budget is not None:
            plan["budget"] = [self.budget, [question.value for question in self.questions]]
        key = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:6]
        a, b = self.pair
        name = re.sub(r"[^A-Za-z0-9_.+-]+", "-", f"explain-{a.label}-{b.label}-on-{self.study.data.name}")
        return Path("tiebreak-studies") / f"{name.strip('-.')[:80]}-{key}"


def make_request(study: Study, ask: str | None, budget: str | None, out: Path | None = None) -> Request:
    """Check what was asked for.

    Raises: StudyError if it is not about two contenders, or a question or the budget cannot be read.
    """
    if len(study.contenders) != 2:
        raise StudyError(f"explain is about two contenders, A and B; got {len(study.contenders)}.")
    if study.looks is not None:
        raise StudyError("explain needs a number of seeds, e.g. --seeds 3; it cannot decide that by itself.")
    for name in ("tune", "equal", "vary", "also_test"):
        if getattr(study, name):
            raise StudyError(
                f"explain trains by recipes that are given, on the data's own parts; leave out {name}."
            )
    return Request(
        study=study,
        questions=DEFAULT_QUESTIONS if ask is None else parse_questions(ask),
        budget=None if budget is None else parse_budget(budget),
        out=out,
    )


def explain(
    a: str | Mapping[str, Any],
    b: str | Mapping[str, Any],
    data: str | Path | ImageDataset = DEFAULT_DATASET,
    *,
    ask: str | None = None,
    budget: str | None = None,
    progress: bool = True,
    **settings: Any,
) -> Explanation:
    """Why `b` leads `a`: train what the questions need and answer them.

    Arguments: `ask` - e.g. "arrangement,ladder,size,data,shift"; `budget` - e.g. "10m", which then decides
    about seeds, and about epochs up to the recipe's; the others as for `compare`, with 3 seeds.

    Raises: TiebreakError of the kind that fits, before anything is trained, if a name or value is wrong.
    """
    study, execution, out, given = read_call([a, b], data, {"seeds": DEFAULT_SEEDS} | settings)
    request = make_request(study, ask, budget, out)
    return run_explanation(request, execution, given, TerminalConsole(quiet=not progress, emoji=False))


def run_explanation(
    request: Request,
    execution: Execution,
    data: ImageDataset | None = None,
    console: Console | None = None,
    stop: StopRequest | None = None,
) -> Explanation:
    """Train what is missing, answer the questions, write explain.json, the figures and the page.

    Raises: TiebreakError of the kind that fits if a name, value, file or folder is wrong; StoppedError once
    `stop` is set and what is under way is stored.
    """
    console = console or Console(quiet=True)
    if data is None:
        data = load(request.study.data, console)
    folder, chosen = request.folder, None
    if request.budget is not None:
        chosen = pick_for(request, request.budget, folder, data, execution)
        console.print(str(chosen), markup=False, highlight=False)
        request = at_pick(request, chosen)
    a, b = request.pair
    needed = needed_contenders(request.questions, a, b)
    study = extend_study(folder, request.study.model_copy(update={"contenders": needed}))
    events = run_study(study, data, folder, execution, request.study.seeds, stop)
    asked = study.model_copy(update={"seeds": request.study.seeds})
    for _ in show_progress(events, asked, console):
        if chosen is not None and not (folder / BUDGET_FILE).is_file():
            write_sealed(folder / BUDGET_FILE, chosen)
    stored = read_study(folder)
    if Question.SHIFT in request.questions:
        with thread_count(execution.threads):
            for label, seed in measure_distortions(stored, (a, b), data, choose_device(execution.device)):
                console.print(f"{label}, seed {seed}: distorted test images", markup=False, highlight=False)
    explanation = answer_questions(stored, request.questions, a, b)
    write_sealed(folder / EXPLAIN_FILE, explanation_as_json(explanation))
    with console.status("Drawing figures and writing the page"):
        verdicts = judge(folder)
        keep_for_the_page(verdicts, data)
        notes = (
            *failure_note("figures", partial(_draw_figures, explanation, folder)),
            *failure_note("report.html", partial(write_study_page, verdicts)),
        )
    for note in notes:
        say(f"Note: {note}", console)
    return explanation


def _draw_figures(explanation: Explanation, folder: Path) -> None:
    from tiebreak.report.figures.explanation import save_explanation_figures  # matplotlib, when it is needed

    save_explanation_figures(explanation, folder / "figures")


def answer_questions(
    stored: StoredStudy, questions: Iterable[Question], a: Contender, b: Contender
) -> Explanation:
    """Answer what was asked about B's lead over A.

    What cannot be answered, because runs that it needs are missing, is told among the sentences.
    """
    results, asked, pair = study_results(stored), set(questions), (a.label, b.label)
    facts, blind = stored.header.data, blind_model(a, b)
    images = facts.train_images - facts.val_images
    sizes = {by: matched_mlp(b, by).label for by in ("params", "flops")}
    parts = [
        DataRung(
            images=round(fraction * images),
            epochs=at_fraction(a, fraction).recipe.epochs,
            a=at_fraction(a, fraction).label,
            b=at_fraction(b, fraction).label,
        )
        for fraction in FRACTIONS
    ]
    on_permuted = {contender.label: permuted(contender).label for contender in (a, b, blind)}
    side, answers = min(facts.image_shape[1:]), measured_answers(stored, (a, b))

    unanswered = []

    def climb(rungs: Iterable[tuple[str | None, Contender]]) -> Ladder:
        return answer_ladder(results, [(ingredient, contender.label) for ingredient, contender in rungs])

    def ask(question: Question, answer: Callable[[], Answer]) -> Answer | None:
        """None where it was not asked, or a contender that it needs has no run."""
        try:
            return answer() if question in asked else None
        except EvidenceError as error:
            unanswered.append(f"Cannot answer {question.value}: {error}")
            return None

    return Explanation(
        results=results,
        a=a.label,
        b=b.label,
        arrangement=ask(
            Question.ARRANGEMENT, lambda: answer_arrangement(results, *pair, blind.label, on_permuted)
        ),
        ladder=ask(Question.LADDER, lambda: climb(ladder(a, b))),
        control=ask(Question.CONTROL, lambda: climb(control_ladder(a, b))),
        size=ask(Question.SIZE, lambda: answer_size(results, *pair, sizes)),
        data=ask(Question.DATA, lambda: answer_data(results, parts)),
        shift=ask(Question.SHIFT, lambda: answer_shift(results, *pair, side, answers)),
        unanswered=tuple(unanswered),
    )


def pick_for(request: Request, budget: float, folder: Path, data: ImageDataset, execution: Execution) -> Pick:
    """What the budget allows: as the folder says if it was asked before, else by a probe of each model."""
    earlier = read_sealed(folder, BUDGET_FILE, Pick, "Remove it to probe the models again.")
    if earlier is not None:
        return earlier
    a, b = request.pair
    study, device = request.study, choose_device(execution.device)
    val_size = data.val_size(study.data.val_size)
    needed = needed_contenders(request.questions, a, b)
    with thread_count(execution.threads):
        precision = choose_precision(execution.precision, device)
        an_epoch, once = seconds_of_seed(needed, data, val_size, device, precision)
    specs = [make_task(study, contender, seed, val_size).spec for contender in needed for seed in range(2)]
    workers = choose_workers(specs, data, execution, this_machine(device), early_server=has_early_server())
    return pick(budget, an_epoch / workers, once / workers, max(a.recipe.epochs, b.recipe.epochs))


def at_pick(request: Request, chosen: Pick) -> Request:
    """The request with the seeds and epochs that its budget allows."""
    contenders = tuple(
        contender.model_copy(update={"recipe": contender.recipe.model_copy(update={"epochs": chosen.epochs})})
        for contender in request.pair
    )
    seeds = tuple(range(chosen.seeds))
    study = request.study.model_copy(update={"contenders": contenders, "seeds": seeds})
    return replace(request, study=study)


def print_explanation(explanation: Explanation, console: Console) -> None:
    """The paragraph, and where numbers and figures are."""
    results = explanation.results
    say("", console)
    for note in (*results.examples.notes, *results.notes):
        say(f"Note: {note}", console)
    heading = f"Why {explanation.b} against {explanation.a} on {results.examples.name}"
    seeds = len(results.rule.seeds)
    runs = f"{seeds} seed{'s' if seeds > 1 else ''}, {len(results.examples.truth):,} test images"
    say(f"{heading} ({runs})", console, style="bold")
    say(" ".join(explanation.sentences), console)
    folder = Path(results.source)
    say_path(f"\nStudy folder: {folder} (explain.json, figures in figures/)", console)
    say_path(f"Look at it:   {folder / PAGE_FILE}", console)
