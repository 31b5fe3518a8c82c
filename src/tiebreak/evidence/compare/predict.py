"""How likely more seeds on the same test images are to decide what is undecided.

The images stay, and their luck with them. So the difference over N seeds in all depends on that over n as

    d_N ~ d + t(n - 1) * s * sqrt(1/n - 1/N)        s^2 = n A

and N seeds decide where |d_N| exceeds the half-width that they will have, with A_N = s^2 / N and B as it is.
Said against happened, by simulation: docs/statistics.md.
"""

import numpy as np
from jaxtyping import Float, Int

from tiebreak.evidence.compare.comparison import Comparison, Method
from tiebreak.evidence.compare.interval import leg, t_upper_tail


def chance_of_deciding(
    comparison: Comparison, seeds: Int[np.ndarray, " N"], margin: float | None = None, comparisons: int = 1
) -> Float[np.ndarray, " N"]:
    """The probability that so many seeds in all (more than now) show a difference, or one inside the margin.

    `comparisons`: pairs decided on together; each gets alpha / comparisons.
    """
    n, d, alpha = comparison.n_seeds, comparison.difference, (1 - comparison.level) / comparisons
    square = (comparison.seed_variance or 0.0) * n
    of_images = 0.0 if comparison.method is Method.FIXED_TEST_SET else comparison.test_variance
    # Training images, where they are counted: as the test images, they are not drawn anew.
    data = comparison.parts[1] if comparison.data_variance is not None else None
    split_seeds, split_images = comparison.parts[0].split, comparison.parts[-1].split

    def reach(alpha: float) -> np.ndarray:
        images = leg(alpha, of_images, comparison.units - 1, split_images)
        if data is not None:
            images = np.hypot(images, data.reach(alpha))
        return np.hypot(leg(alpha, square / seeds, seeds - 1, split_seeds), images)

    def above(bound: np.ndarray) -> np.ndarray:
        """P(d_N > bound)."""
        scale = np.maximum(np.sqrt(square * (1 / n - 1 / seeds)), np.finfo(float).tiny)
        return np.asarray(t_upper_tail((bound - d) / scale, n - 1))

    half = reach(alpha)
    shown = above(half) + 1 - above(-half)
    if margin is None:
        return shown
    # A repeated interval shares its alpha between both claims; one look may use 1 - 2 alpha.
    room = np.maximum(margin - reach(alpha if split_seeds < 1 else 2 * alpha), 0.0)
    return np.maximum(shown, above(-room) - above(room))
