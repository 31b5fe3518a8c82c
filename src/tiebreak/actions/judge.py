"""What a study folder shows: its judgement, and that as text and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tiebreak.errors import StudyError
from tiebreak.evidence.compare.also import AlsoJudged, judge_also
from tiebreak.evidence.compare.judgement import Judgement, judge_study
from tiebreak.evidence.compare.quantities import compare_quantity
from tiebreak.evidence.compare.simultaneous import Ranking
from tiebreak.evidence.compare.until_decided import LookState
from tiebreak.evidence.describe.quality import ContenderSummary, summarise_contenders
from tiebreak.report.page import PAGE_FILE
from tiebreak.report.terminal.console import TerminalConsole
from tiebreak.report.terminal.results import print_findings
from tiebreak.report.terminal.tables import WIDE, say_path
from tiebreak.report.text.explained import read_explanation
from tiebreak.report.text.findings import Findings
from tiebreak.report.text.values import (
    also_as_json,
    contender_as_json,
    judgement_as_json,
    looks_as_json,
    ranking_as_json,
    tuned_as_json,
)
from tiebreak.results.kept import is_kept, read_kept
from tiebreak.results.results import Results
from tiebreak.results.run import Cost, History
from tiebreak.study.equal import TRAINING_FLOPS

if TYPE_CHECKING:  # what reads a study folder is not needed for results that were made elsewhere
    from tiebreak.study.plan import Contender
    from tiebreak.study.store import StoredStudy


@dataclass(frozen=True, kw_only=True, repr=False)
class Verdicts:
    """A study and what it shows. Printing it gives the table and the verdict."""

    folder: Path
    stored: "StoredStudy | None"  # None: its runs were made elsewhere
    results: Results  # what its finished runs predicted
    contenders: tuple[ContenderSummary, ...]
    ranking: Ranking | None  # None for a single contender, or before the first look
    judgements: tuple[Judgement, ...]  # one a pair
    also: tuple[AlsoJudged, ...] = ()  # the same models on further test parts
    looks: LookState | None = None  # of a study that trains seeds until it is decided
    notes: tuple[str, ...] = ()  # what must be known of data, runs and verdicts; every view shows it

    @property
    def page(self) -> Path:
        """The interactive page, once it has been written."""
        return self.folder / PAGE_FILE

    @property
    def histories(self) -> dict[str, list[History]]:
        """The curves of each contender's finished runs, by label."""
        return {
            contender.label: [run.history for run in contender.runs.values() if run.history]
            for contender in self.results.contenders
        }

    def compare(self, quantity: str = "accuracy") -> tuple[Judgement, ...]:
        """Every pair judged by "accuracy", "loss", "brier" or the name of a class.

        Raises: EvidenceError for another quantity, or if nothing can be compared yet.
        """
        return compare_quantity(self.results, quantity)

    def __str__(self) -> str:
        text = StringIO()
        plain = TerminalConsole(file=text, width=WIDE, force_terminal=False, force_jupyter=False, emoji=False)
        print_results(self, plain)
        return text.getvalue()

    __repr__ = __str__  # at a prompt and in a notebook, where arrays of answers would fill pages


def judge(folder: Path | str) -> Verdicts:
    """What a study folder shows, or a folder of results that were judged, from its files alone.

    Raises: StudyError if it holds no study, is damaged, or no run has finished; EvidenceError if kept results
    are damaged.
    """
    folder = Path(folder)
    if is_kept(folder):
        return judge_results(read_kept(folder)[0], folder)
    from tiebreak.study.results import study_results
    from tiebreak.study.store import read_study

    stored = read_study(folder)
    verdicts = judge_results(study_results(stored), stored.folder, stored)
    if not stored.study.also_test:
        return verdicts
    from tiebreak.study.also_test import also_results

    parts = also_results(stored, verdicts.results)
    return replace(verdicts, also=tuple(judge_also(verdicts.ranking, part) for _, part in parts))


def read_results(folder: Path | str) -> Results:
    """What was predicted, of a study folder or of a folder of results that were judged.

    Raises: StudyError or EvidenceError if it is neither, or damaged.
    """
    folder = Path(folder)
    if is_kept(folder):
        return read_kept(folder)[0]
    from tiebreak.study.results import study_results
    from tiebreak.study.store import read_study

    return study_results(read_study(folder))


def stored_of(verdicts: Verdicts) -> "StoredStudy":
    """The study folder behind verdicts.

    Raises: StudyError if their runs were made elsewhere.
    """
    if verdicts.stored is None:
        raise StudyError(f"{verdicts.folder} holds results that were made elsewhere, not a study.")
    return verdicts.stored


def judge_results(results: Results, folder: Path, stored: "StoredStudy | None" = None) -> Verdicts:
    """What results show; `folder`: where they lie, or are to lie.

    Raises: EvidenceError if a pair cannot be compared.
    """
    summaries = summarise_contenders(results)
    judged = judge_study(results)
    if judged.looks is not None:  # seeds that only later looks would need are not missing
        due = results.rule.seeds[: judged.looks.next_look or judged.looks.looks[judged.looks.looks_done - 1]]
        summaries = tuple(
            replace(summary, missing=tuple(seed for seed in summary.missing if seed in due))
            for summary in summaries
        )
    return Verdicts(
        folder=folder,
        stored=stored,
        results=results,
        contenders=summaries,
        ranking=judged.ranking,
        judgements=judged.judgements,
        looks=judged.looks,
        notes=tuple(dict.fromkeys((*results.examples.notes, *_failures(results), *judged.notes))),
    )


def _failures(results: Results) -> Iterator[str]:
    """Why runs failed of contenders that have others, one note a reason."""
    for contender in results.contenders:
        for reason in dict.fromkeys(contender.failed.values()):
            seeds = [str(seed) for seed, why in contender.failed.items() if why == reason]
            which = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}"
            yield f"{contender.label}, {which} failed: {reason.rstrip('.')}."


def findings(verdicts: Verdicts) -> Findings:
    """What every view shows of a study."""
    return Findings(
        results=verdicts.results,
        summaries=verdicts.contenders,
        ranking=verdicts.ranking,
        judgements=verdicts.judgements,
        notes=verdicts.notes,
        also=verdicts.also,
        explained=read_explanation(verdicts.folder),
    )


def print_results(verdicts: Verdicts, console: Console) -> None:
    """What the study shows, and where the figures are."""
    print_findings(findings(verdicts), console)
    say_where(verdicts, console)


def say_where(verdicts: Verdicts, console: Console) -> None:
    """Where figures and page are."""
    what = "Study folder" if verdicts.stored else "Kept in"
    say_path(f"\n{what}: {verdicts.folder} (figures in figures/)", console)
    if verdicts.page.is_file():
        say_path(f"Look at it:   {verdicts.page}", console)


def training_flops(stored: "StoredStudy", contender: "Contender", cost: Cost, epochs: float) -> float:
    """Of a run of so many epochs: forward and backward passes over its training images."""
    data = stored.header.data
    images = stored.study.images_of_run(contender, data.train_images - data.val_images)
    shown = contender.recipe.pixels_shown(*data.image_shape[1:])
    return TRAINING_FLOPS * cost.flops * images * epochs * shown


def _budget_as_json(verdicts: Verdicts) -> dict[str, Any] | None:
    """What all contenders were to spend, and what a run of each has; None where nothing was declared."""
    stored = verdicts.stored
    if stored is None or stored.study.equal is None:
        return None
    data = stored.header.data
    spent = {}
    for summary in verdicts.contenders:
        contender = stored.study.contender(summary.label)
        images = stored.study.images_of_run(contender, data.train_images - data.val_images)
        epochs, cost = contender.recipe.epochs, summary.cost  # which early stopping cannot shorten here
        spent[summary.label] = {
            "epochs": epochs,
            "steps": epochs * -(-round(images) // contender.recipe.batch_size),
            "flops": cost and training_flops(stored, contender, cost, epochs),
            "seconds": summary.train_seconds and summary.train_seconds.mean,
        }
    equal = stored.study.equal
    return {"equal": equal.what, "of": equal.of, "amount": equal.amount, "spent": spent}


def as_json(verdicts: Verdicts) -> dict[str, Any]:
    """The object that `--json` prints; accuracies and differences are fractions."""
    data, stored = verdicts.results.examples, verdicts.stored
    searches = {each.label: each for each in findings(verdicts).searches}
    return {
        "study": str(verdicts.folder),
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "verified": data.verified,
            "notes": list(data.notes),
        },
        "contenders": {
            summary.label: contender_as_json(summary)
            | ({"tuned": tuned_as_json(searches[summary.label])} if summary.label in searches else {})
            for summary in verdicts.contenders
        },
        "budget": _budget_as_json(verdicts),
        "also": {also.name: also_as_json(also) for also in verdicts.also},
        "tuning_curve": {
            label: asdict(each.curve) for label, each in searches.items() if each.curve is not None
        },
        "without_runs": {
            contender.label: {
                "reason": contender.why_none,
                "failed": {str(seed): reason for seed, reason in contender.failed.items()},
            }
            for contender in verdicts.results.without_runs
        },
        "comparisons": [judgement_as_json(judgement) for judgement in verdicts.judgements],
        "ranking": ranking_as_json(verdicts.ranking) if verdicts.ranking else [],
        "looks": looks_as_json(verdicts.looks) if verdicts.looks else None,
        "seeds_added": [[added.before, added.now] for added in stored.header.seeds_added] if stored else [],
        "notes": list(verdicts.notes),
    }
