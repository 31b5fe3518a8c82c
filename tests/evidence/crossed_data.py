"""Small worlds of crossed binary data, drawn from an explicit generator."""

import numpy as np
from scipy.special import ndtri


def right_or_wrong(
    rng: np.random.Generator,
    accuracies: tuple[float, ...],
    seeds: int,
    examples: int,
    *,
    luck: float = 0.05,
    taste: float = 0.12,
) -> list[np.ndarray]:
    """Boolean [seed, example] for each accuracy. All variances add up to 1, so the accuracies are exact."""
    own = 1 - 0.60 - taste - luck**2
    difficulty = rng.standard_normal(examples)
    found = []
    for accuracy in accuracies:
        latent = (
            0.60**0.5 * difficulty
            + taste**0.5 * rng.standard_normal(examples)
            + luck * rng.standard_normal((seeds, 1))
            + own**0.5 * rng.standard_normal((seeds, examples))
        )
        found.append(latent > -ndtri(accuracy))
    return found
