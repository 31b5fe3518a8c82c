"""What a verdict holds for: the recipe, that training ends, and what each contender's training took."""

from statistics import fmean

from tiebreak.evidence.compare.sentence import significant
from tiebreak.results.results import Results

ALIKE = 1.1  # times the seconds: what machines vary by anyway


def scope(results: Results, a: str, b: str) -> str | None:
    """The same from run to run: "holds for this recipe (5 epochs, Adam, lr 0.001, tuned for neither)".

    None where nothing of it is known.
    """
    parts = [part for part in (_recipes(results, a, b), _if_it_ends(results, a, b)) if part]
    return f"holds {', '.join(parts)}" if parts else None


def _recipes(results: Results, a: str, b: str) -> str | None:
    of_a, of_b = results.of(a).recipe, results.of(b).recipe
    if of_a is None or of_b is None:
        return None
    tuned = results.rule.tuning or "tuned for neither"
    if results.rule.budget is not None:
        tuned = f"{tuned}; {results.rule.budget}"
    if of_a == of_b:
        return f"for this recipe ({of_a}, {tuned})"
    return f"for these recipes ({a}: {of_a}; {b}: {of_b}; {tuned})"


def _if_it_ends(results: Results, a: str, b: str) -> str | None:
    return "given that training ends" if results.of(a).failed or results.of(b).failed else None


def time_taken(results: Results, a: str, b: str) -> str | None:
    """Whose training took longer: "cnn took 2.7 times the seconds of mlp"; None where it is not known."""
    took = {
        label: [run.timing.train_seconds for run in results.of(label).runs.values() if run.timing]
        for label in (a, b)
    }
    if not all(took.values()):
        return None
    slow, fast = sorted((a, b), key=lambda label: -fmean(took[label]))
    if not fmean(took[fast]) > 0:
        return None
    times = fmean(took[slow]) / fmean(took[fast])
    if times < ALIKE:
        return "both took about as long"
    return f"{slow} took {significant(times, 2)} times the seconds of {fast}"
