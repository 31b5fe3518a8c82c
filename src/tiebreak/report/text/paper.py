"""What goes into a paper: the table and the sentences as Markdown or LaTeX, and the answer to a checklist."""

import re
from collections.abc import Sequence

from tiebreak.evidence.compare.comparison import Comparison, Method
from tiebreak.evidence.compare.judgement import Judgement
from tiebreak.evidence.describe.quality import ContenderSummary
from tiebreak.report.text.tables import summary_table
from tiebreak.results.results import Results

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}

# How the half-width of an interval is made, by what a comparison rests on.
INTERVALS = {
    Method.CROSSED: "the quadrature of a t interval over the paired seeds and one over the test examples "
    "(Banerjee 1960, with the pseudo-examples of Agresti and Min 2005)",
    Method.UNPAIRED: "the quadrature of t intervals over the seeds of each side and over the test examples "
    "(Banerjee 1960)",
    Method.FIXED_TEST_SET: "a t interval over the paired seeds, on this very test set",
    Method.ONE_SEED: "that of Agresti and Min (2005) over the test examples, with the exact McNemar test; "
    "a single run shows nothing of other seeds",
    Method.CHECKPOINTS: "that of Agresti and Min (2005) over the test examples, with the exact McNemar test, "
    "for these very checkpoints",
    Method.FOLDS: "Nadeau and Bengio's (2003) corrected t interval over the folds of the cross-validation",
}


def as_markdown(
    results: Results,
    summaries: Sequence[ContenderSummary],
    judgements: Sequence[Judgement],
    notes: Sequence[str],
) -> str:
    """A table, a sentence a pair, the notes and the checklist's paragraph."""
    table = summary_table(summaries)
    lines = [
        _row(table.columns),
        _row(["---", *("---" if name in table.text_columns else "---:" for name in table.columns[1:])]),
        *(_row([cell.replace("|", "\\|") for cell in row]) for row in table.rows),
        "",
        *(f"- {judgement.sentence}" for judgement in judgements),
        "",
        *(f"> Note: {note}" for note in notes),
        *([""] if notes else []),
        checklist(results, judgements),
    ]
    return "\n".join(lines) + "\n"


def as_latex(results: Results, summaries: Sequence[ContenderSummary], judgements: Sequence[Judgement]) -> str:
    """A table for `booktabs`, a sentence a pair, and the checklist's paragraph, as LaTeX."""
    table = summary_table(summaries)
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        _latex_row(table.columns),
        r"\midrule",
        *map(_latex_row, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        "",
        *(latex_text(judgement.sentence) for judgement in judgements),
        "",
        latex_text(checklist(results, judgements)),
    ]
    return "\n".join(lines) + "\n"


def latex_text(text: str) -> str:
    """Text as LaTeX shows it, letter by letter."""
    return re.sub(r"[\\~^±<>&%$#_{}]", lambda found: LATEX[found[0]], text)


def checklist(results: Results, judgements: Sequence[Judgement]) -> str:
    """The answer to item 7 of the NeurIPS checklist: what varies, how intervals are made, what is assumed."""
    comparisons = [judgement.verdict.comparison for judgement in judgements]
    if not comparisons:
        return "Statistical significance: one contender alone was measured, so nothing was compared."
    first = comparisons[0]
    several = len(comparisons) > 1
    holm = (
        f" P-values are adjusted for {len(comparisons)} comparisons by Holm's procedure." if several else ""
    )
    made = "; ".join(dict.fromkeys(INTERVALS[comparison.method] for comparison in comparisons))
    if first.data_variance is not None:
        made += ", with a third part for the training images"
    spread = "The ± in the table is the standard deviation over seeds." if first.n_seeds > 1 else ""
    return (
        f"Statistical significance. Factors of variability: {_factors(first, results)}. The intervals are at "
        f"{100 * first.level:g}%; each is {made}.{holm} {spread} Assumed: test examples{_of_groups(first)} "
        "and seeds "
        f"are exchangeable draws, and nothing was chosen by its test result.{_not_covered(first, results)}"
    ).replace("  ", " ")


def _searched(results: Results) -> bool:
    """Whether the luck of the search for hyperparameters is counted."""
    return results.rule.tuning is not None and not results.rule.once


def _not_covered(comparison: Comparison, results: Results) -> str:
    left = [
        *([] if _searched(results) else ["of hyperparameters"]),
        *([] if comparison.other_data or comparison.method is Method.FOLDS else ["of the training images"]),
    ]
    return f" Not covered: the choice {' and '.join(left)}." if left else ""


def _factors(comparison: Comparison, results: Results) -> str:
    images = f"the choice of {comparison.n_examples:,} test examples"
    if comparison.n_groups is not None:
        images += f" in {comparison.n_groups:,} groups"
    if comparison.method is Method.FOLDS:
        return f"training and test images, by {comparison.n_seeds} folds of a cross-validation"
    if comparison.n_seeds == 1:
        return f"{images} alone"
    own = any(run.history for contender in results.contenders for run in contender.runs.values())
    varied = ["initial weights", "split", "order", "augmentation"] if own else []
    varied += ["search of hyperparameters"] if _searched(results) else []
    varied += ["training images"] if results.rule.vary == "disjoint" else []
    images = f"training images drawn anew, and {images}" if results.rule.vary == "data" else f"and {images}"
    of_seed = f" ({', '.join(varied)})" if varied else ""
    return f"the seed{of_seed}, {comparison.n_seeds} a contender, {images}"


def _of_groups(comparison: Comparison) -> str:
    return "" if comparison.n_groups is None else " (by groups)"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex_row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(map(latex_text, cells))} \\"
