"""What a study shows, in a terminal: the ranking, the numbers, the verdicts."""

from rich.console import Console

from tiebreak.evidence.compare.judgement import uncertainty
from tiebreak.report.terminal.tables import print_table, say
from tiebreak.report.text.findings import FEW, Findings, summary_sentence, tuning_sentences
from tiebreak.report.text.tables import baseline_table, ranking_table, summary_table


def print_findings(findings: Findings, console: Console) -> None:
    """The ranking where there are more than two contenders, the numbers, the verdicts, the notes."""
    ranking, colours = findings.ranking, findings.colours
    say("", console)
    if ranking is not None and findings.is_ranked:
        print_table(ranking_table(ranking), console, colours)
        if ranking.baseline is None:
            say("Contenders that share a letter could not be told apart.", console)
        say("", console)
    print_table(summary_table(findings.summaries), console, colours)
    say("", console)
    if findings.explained is not None:
        say(" ".join(findings.explained.sentences), console)
    else:
        _print_verdicts(findings, console)
    for note in findings.notes:
        say(f"Note: {note}", console)


def _print_verdicts(findings: Findings, console: Console) -> None:
    if len(findings.results.labels) < 2:
        say("One contender: there is nothing to compare it with.", console)
    if findings.ranking is not None and findings.is_ranked:
        say(summary_sentence(findings.ranking, findings.judgements), console, style="bold")
    baseline = findings.ranking.baseline if findings.ranking is not None else None
    if baseline is not None and findings.is_ranked and findings.judgements:
        say("", console)
        print_table(baseline_table(findings.judgements, baseline), console, findings.colours)
        say("", console)
    for judgement in findings.told:
        say(judgement.sentence, console, style=None if findings.is_ranked else "bold")
        for line in (judgement.beside, uncertainty(judgement.verdict.comparison)):
            if line:
                say(f"  {line}", console)
    for line in tuning_sentences(findings):
        say(line, console)
    for also in findings.also:
        say(also.sentence, console)
        for judgement in also.judgements if len(also.judgements) <= FEW else also.judgements[:1]:
            say(f"  {judgement.sentence}", console)
    if len(findings.told) < len(findings.judgements):
        say(f"All {len(findings.judgements)} pairs, one by one: in report.html, or with --json.", console)
