"""What `check` found, as the files that a pipeline reads: JUnit XML and Markdown."""

from collections.abc import Sequence
from html import escape

from tiebreak.evidence.claims.outcome import ClaimOutcome, Finding, claim_line

SIGNS = {Finding.SHOWN: "✅", Finding.REFUTED: "❌", Finding.NOT_ENOUGH_DATA: "❔"}


def as_junit(outcomes: Sequence[ClaimOutcome], source: str) -> str:
    """A test case a claim: refuted ones have failed, those without enough data are skipped."""
    counts = {finding: sum(outcome.finding is finding for outcome in outcomes) for finding in Finding}
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="tiebreak check" tests="{len(outcomes)}" failures="{counts[Finding.REFUTED]}" '
        f'errors="0" skipped="{counts[Finding.NOT_ENOUGH_DATA]}">',
    ]
    for outcome in outcomes:
        case = f'<testcase classname="{_attribute(source)}" name="{_attribute(outcome.claim.text)}"'
        if outcome.finding is Finding.SHOWN:
            lines.append(f"  {case}><system-out>{_attribute(claim_line(outcome))}</system-out></testcase>")
        else:
            kind = "failure" if outcome.finding is Finding.REFUTED else "skipped"
            lines.append(f'  {case}><{kind} message="{_attribute(claim_line(outcome))}"/></testcase>')
    return "\n".join([*lines, "</testsuite>"]) + "\n"


def as_markdown(outcomes: Sequence[ClaimOutcome], source: str) -> str:
    """A table with a row a claim, for a summary or a comment."""
    rows = [
        f"| {SIGNS[outcome.finding]} {outcome.finding} | `{_cell(outcome.claim.text)}` | "
        f"{_cell(claim_line(outcome).partition(': ')[2].removeprefix(outcome.claim.text).strip(' ()'))} |"
        for outcome in outcomes
    ]
    return "\n".join(
        [f"### Claims about {_cell(source)}", "", "| | claim | measured |", "| --- | --- | --- |", *rows, ""]
    )


def _attribute(text: str) -> str:
    """Text inside XML, without the control characters that XML has none for."""
    return escape("".join(letter if letter.isprintable() else " " for letter in text))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("`", "'").split())
