"""What a study folder shows: its judgement, and that as text and as JSON."""

from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from tiebreak.evidence.compare.judgement import Judgement, judge_study
from tiebreak.evidence.compare.quantities import compare_quantity
from tiebreak.evidence.compare.simultaneous import Ranking
from tiebreak.evidence.compare.until_decided import LookState
from tiebreak.evidence.describe.quality import ContenderSummary, summarise_contenders
from tiebreak.report.page.html import PAGE_FILE
from tiebreak.report.terminal.console import TerminalConsole
from tiebreak.report.terminal.printing import print_evidence, print_table, say
from tiebreak.report.text.explained import read_explanation
from tiebreak.report.text.tables import (
    contender_as_json,
    judgement_as_json,
    looks_as_json,
    ranking_as_json,
    summary_table,
)
from tiebreak.results.results import Results
from tiebreak.results.run import History
from tiebreak.study.results import study_results
from tiebreak.study.store import StoredStudy, read_study


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """A study and what it shows. Printing it gives the table and the verdict."""

    stored: StoredStudy
    results: Results  # what its finished runs predicted
    contenders: tuple[ContenderSummary, ...]
    ranking: Ranking | None  # None for a single contender, or before the first look
    judgements: tuple[Judgement, ...]  # one a pair
    looks: LookState | None = None  # of a study that trains seeds until it is decided
    notes: tuple[str, ...] = ()  # what must be known beside the verdicts

    @property
    def folder(self) -> Path:
        return self.stored.folder

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
        plain = TerminalConsole(file=text, width=120, force_terminal=False, force_jupyter=False, emoji=False)
        print_results(self, plain)
        return text.getvalue()


def judge(folder: Path | str) -> Verdicts:
    """What a study folder shows, from its files alone.

    Raises: StudyError if it holds no study, is damaged, or no run has finished.
    """
    stored = read_study(Path(folder))
    results = study_results(stored)
    summaries = summarise_contenders(results)
    judged = judge_study(results)
    if judged.looks is not None:  # seeds that only later looks would need are not missing
        due = results.rule.seeds[: judged.looks.next_look or judged.looks.looks[judged.looks.looks_done - 1]]
        summaries = tuple(
            replace(summary, missing=tuple(seed for seed in summary.missing if seed in due))
            for summary in summaries
        )
    return Verdicts(
        stored=stored,
        results=results,
        contenders=summaries,
        ranking=judged.ranking,
        judgements=judged.judgements,
        looks=judged.looks,
        notes=judged.notes,
    )


def print_results(verdicts: Verdicts, console: Console) -> None:
    """The final table, what must be said about the data, the verdict, and where the figures are."""
    console.print()
    print_table(summary_table(verdicts.contenders), console)
    console.print()
    for note in verdicts.results.examples.notes:
        console.print(f"Note: {note}", markup=False, highlight=False)
    for contender in (*verdicts.results.contenders, *verdicts.results.without_runs):
        for seed, reason in contender.failed.items():
            console.print(
                f"Note: {contender.label}, seed {seed} failed: {reason}", markup=False, highlight=False
            )
    explanation = read_explanation(verdicts.folder)
    if explanation is not None:  # its contenders were trained to answer its questions, not each other
        say(" ".join(explanation["sentences"]), console)
    else:
        print_evidence(verdicts.ranking, verdicts.judgements, verdicts.notes, console)
    if len(verdicts.results.labels) < 2:
        say("One contender: there is nothing to compare it with.", console)
    console.print(f"\nStudy folder: {verdicts.folder} (figures in figures/)", markup=False, soft_wrap=True)
    if verdicts.page.is_file():
        console.print(f"Look at it:   {verdicts.page}", markup=False, highlight=False, soft_wrap=True)


def as_json(verdicts: Verdicts) -> dict[str, Any]:
    """The object that `--json` prints; accuracies and differences are fractions."""
    data = verdicts.stored.header.data
    return {
        "study": str(verdicts.folder),
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "verified": data.verified,
            "notes": list(data.notes),
        },
        "contenders": {summary.label: contender_as_json(summary) for summary in verdicts.contenders},
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
        "seeds_added": [[added.before, added.now] for added in verdicts.stored.header.seeds_added],
        "notes": list(verdicts.notes),
    }
