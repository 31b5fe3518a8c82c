"""A claim about two contenders agrees with their verdict, however their seeds belong together."""

import numpy as np
import pytest

import tiebreak as tb
from tiebreak.errors import EvidenceError
from tiebreak.evidence.claims.check import check_claims


def predictions(accuracy: float, draw: int) -> np.ndarray:
    """(seeds, images): classes named by three runs."""
    rng = np.random.default_rng(draw)
    truth = np.arange(300) % 3
    return np.where(rng.random((3, 300)) < accuracy, truth, (truth + 1) % 3)


@pytest.mark.parametrize("seeds", ["unpaired", "paired"])
def test_a_claim_has_the_interval_of_the_verdict(seeds: str, tmp_path) -> None:
    given = {"a": predictions(0.8, 0), "b": predictions(0.7, 1)}
    found = tb.judge(given, labels=np.arange(300) % 3, seeds=seeds, out=tmp_path / "judged")
    (judgement,) = found.judgements
    comparison = judgement.verdict.comparison
    (claim,) = check_claims(found.results, ["a - b > 0.01"])
    assert (claim.low, claim.high) == pytest.approx((comparison.ci_low, comparison.ci_high))
    (other,) = check_claims(found.results, ["b - a < 0"])
    assert (other.low, other.high) == pytest.approx((-comparison.ci_high, -comparison.ci_low))


def test_what_unpaired_seeds_cannot_show_is_said(tmp_path) -> None:
    given = {"a": predictions(0.8, 0), "b": predictions(0.7, 1)}
    found = tb.judge(given, labels=np.arange(300) % 3, seeds="unpaired", out=tmp_path / "judged")
    with pytest.raises(EvidenceError, match="the seeds of a and b are not paired, so only the difference"):
        check_claims(found.results, ["a - 0.5 * b > 0.1"])
    assert check_claims(found.results, ["a > 0.5"])[0].finding.value == "shown"
