"""`tiebreak plan`: how many seeds a difference needs."""

from pathlib import Path

from tiebreak.actions.judge import read_results
from tiebreak.errors import EvidenceError
from tiebreak.evidence.plan.budget import Budget, basis_from_defaults, basis_from_pilot, make_budget


def plan(
    difference: float,
    *,
    pilot: Path | str | None = None,
    pair: tuple[str, str] | None = None,
    power: float = 0.8,
    level: float | None = None,
    test_images: int | None = None,
    accuracy: float | None = None,
    contenders: int = 2,
    out: Path | str | None = None,
) -> Budget:
    """Seeds and training time to show a difference in accuracy (0.01 is one point) with this power.

    Arguments: `pilot` - a finished study to learn from; `pair` - two of its contenders, by default
    those whose difference is least certain; without a pilot, `test_images` and `accuracy` are needed and
    bounds are used; `level` - by default the pilot's, or 0.95; `out` - a folder for the figure.

    Raises: StudyError or EvidenceError if something is missing or out of range.
    """
    if pilot is not None:
        basis = basis_from_pilot(read_results(pilot), level, pair)
    elif test_images is not None and accuracy is not None:
        basis = basis_from_defaults(
            test_images, accuracy, difference, level=0.95 if level is None else level, contenders=contenders
        )
    else:
        raise EvidenceError(
            "a plan needs a pilot study (--pilot), or the number of test images and the accuracy expected "
            "(--test-images 10000 --accuracy 0.9)."
        )
    budget = make_budget(basis, difference, power)
    if out is not None:
        from tiebreak.report.figures.differences import save_power

        save_power(budget, Path(out))
    return budget
