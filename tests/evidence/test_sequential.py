"""The rule that may look early: its interval, its reasons to stop, and what it refuses."""

import dataclasses
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.interval import half_width, leg
from tiebreak.evidence.compare.pair import compare_predictions
from tiebreak.evidence.compare.sequential import (
    Decision,
    Reason,
    SequentialPlan,
    Snapshot,
    all_stopped,
    look,
    look_all,
    parts_of,
    snapshot,
)
from tiebreak.results.looks import looks_up_to


def at(n: int, difference: float, seed: float = 1e-6, test: float = 1e-7) -> Snapshot:
    return Snapshot(n_seeds=n, difference=difference, seed_variance=seed, test_variance=test, test_df=9_999)


def test_the_interval_splits_alpha_over_the_looks() -> None:
    decision = look(SequentialPlan(), [at(3, 0.001, 4e-6, 9e-6)])
    seeds = scipy.stats.t.ppf(1 - 0.05 / 12, 2) * 2e-3
    images = scipy.stats.t.ppf(1 - 0.75 * 0.025, 9_999) * 3e-3
    assert decision.ci_high == pytest.approx(0.001 + math.hypot(seeds, images), rel=1e-9)
    assert decision.ci_low == pytest.approx(0.001 - math.hypot(seeds, images), rel=1e-9)
    assert (decision.reason, decision.next_look, decision.stop) == (Reason.CONTINUE, 5, False)


@given(
    st.floats(-0.05, 0.05), st.floats(1e-8, 1e-3), st.floats(1e-8, 1e-3), st.sampled_from([0.9, 0.95, 0.99])
)
def test_the_p_value_and_the_interval_agree(
    difference: float, seed: float, test: float, level: float
) -> None:
    decision = look(SequentialPlan(level=level), [at(3, difference, seed, test)])
    excludes = decision.ci_low > 0 or decision.ci_high < 0
    if abs(decision.p_value - (1 - level)) > 1e-9:
        assert (decision.p_value <= 1 - level) is excludes
        assert (decision.reason in (Reason.A_BETTER, Reason.B_BETTER)) is excludes


def test_the_intervals_of_all_looks_are_joined() -> None:
    """What an early look showed stays shown, whatever a later one adds: p and interval are one rule."""
    plan = SequentialPlan()
    early, late = at(3, 0.02, 1e-7, 1e-7), at(5, -0.004, 5e-5, 1e-5)
    decision = look(plan, [early, late])
    [first, second] = [look(plan, [one]) for one in (early, replace(late, n_seeds=3))]
    assert decision.reason is Reason.A_BETTER
    assert decision.p_value == first.p_value <= 0.05
    assert decision.ci_low == first.ci_low > 0
    assert decision.ci_low <= decision.difference <= decision.ci_high
    assert second.ci_low < 0 < second.ci_high
    contradicting = look(plan, [at(3, 0.05, 1e-10, 1e-8), at(5, -0.05, 1e-5, 1e-6)])
    assert contradicting.reason is Reason.A_BETTER
    assert 0 < contradicting.ci_low < contradicting.ci_high


@given(
    st.lists(
        st.tuples(st.floats(-0.02, 0.02), st.floats(1e-7, 1e-4), st.floats(1e-7, 1e-5)),
        min_size=3,
        max_size=3,
    )
)
def test_after_any_looks_what_is_said_and_the_interval_agree(seen: list[tuple[float, float, float]]) -> None:
    plan = SequentialPlan(equivalence=0.01)
    history = [at(n, *values) for n, values in zip((3, 5, 8), seen, strict=True)]
    decision = look(plan, history)
    if abs(decision.p_value - 0.05) > 1e-9:
        assert (decision.p_value <= 0.05) is (decision.ci_low > 0 or decision.ci_high < 0)
    assert decision.p_equivalence is not None
    joined = max(one.difference - half(plan, one) for one in history) <= min(
        one.difference + half(plan, one) for one in history
    )
    if joined and abs(decision.p_equivalence - 0.05) > 1e-9:
        assert (decision.p_equivalence <= 0.05) is (decision.ci_low > -0.01 and decision.ci_high < 0.01)


def half(plan: SequentialPlan, one: Snapshot) -> float:
    return half_width(1 - plan.level, *parts_of(plan, one))


def test_few_images_have_their_own_t() -> None:
    """With 50 images, a normal quantile for their part lets the any-look error rise above 5%."""
    rng, m, reps = np.random.default_rng(0), 50, 2_000
    wrong = {"t": np.zeros(reps, dtype=bool), "normal": np.zeros(reps, dtype=bool)}
    test_sd = np.sqrt(rng.chisquare(m - 1, reps) / (m - 1))
    image = rng.standard_normal(reps)
    for n in (3, 5, 8, 12, 20, 30):
        tiny = 1e-12
        for kind, df in (("t", m - 1), ("normal", np.inf)):
            wrong[kind] |= np.abs(image) > np.hypot(
                leg(0.05, tiny, n - 1, 1 / 6), leg(0.05, test_sd**2, df, 0.75)
            )
    assert wrong["t"].mean() < wrong["normal"].mean()
    assert wrong["t"].mean() == pytest.approx(0.75 * 0.05, abs=0.012)
    few = Snapshot(n_seeds=3, difference=0.0, seed_variance=0.0, test_variance=1e-4, test_df=49)
    assert look(SequentialPlan(), [few]).ci_high == pytest.approx(
        scipy.stats.t.ppf(1 - 0.75 * 0.025, 49) * 0.01
    )


def test_it_stops_on_a_difference_either_way() -> None:
    assert look(SequentialPlan(), [at(3, 0.2)]).reason is Reason.A_BETTER
    decision = look(SequentialPlan(), [at(3, -0.2)])
    assert (decision.reason, decision.stop, decision.next_look) == (Reason.B_BETTER, True, None)


def test_it_stops_on_equivalence_where_the_interval_lies_inside() -> None:
    plan = SequentialPlan(equivalence=0.01)
    decision = look(plan, [at(3, 0.001, 1e-6, 1e-5), at(5, 0.0005, 1e-7, 1e-7)])
    assert decision.reason is Reason.EQUIVALENT
    assert decision.ci_low > -0.01 and decision.ci_high < 0.01


def test_it_gives_up_where_only_images_could_help() -> None:
    settled = at(3, 0.001, 1e-7, 1e-5)
    assert look(SequentialPlan(), [settled]).reason is Reason.FUTILE
    assert look(SequentialPlan(equivalence=0.005), [settled]).reason is Reason.FUTILE
    # With seeds still to settle it goes on; with a margin wide enough, equivalence may still come.
    assert look(SequentialPlan(), [at(3, 0.001, 1e-5, 1e-5)]).reason is Reason.CONTINUE
    assert look(SequentialPlan(equivalence=0.009), [at(3, 0.001, 2e-6, 1e-5)]).reason is Reason.CONTINUE


def test_the_last_look_is_the_last() -> None:
    plan = SequentialPlan(looks=(3, 5))
    decision = look(plan, [at(3, 0.001), at(5, 0.001)])
    assert (decision.reason, decision.stop, decision.next_look) == (Reason.LAST_LOOK, True, None)


def test_an_early_crossing_is_never_taken_back() -> None:
    plan = SequentialPlan(looks=(3, 5, 8))
    first = look(plan, [at(3, 0.2)])
    later = look(plan, [at(3, 0.2), at(5, 0.0001, 1e-3)])
    assert later.p_value <= first.p_value
    assert later.reason is Reason.A_BETTER


def test_several_pairs_share_one_error_rate() -> None:
    plan = SequentialPlan()
    edge = at(3, 0.0125)
    alone = look(plan, [edge])
    assert alone.stop and 0.01 < alone.p_value < 0.05
    histories = {(name, "z"): [edge] for name in "abcdefghi"} | {("y", "z"): [at(3, 0.9)]}
    decisions = look_all(plan, histories)
    assert decisions["y", "z"].reason is Reason.A_BETTER
    assert decisions["a", "z"].reason is Reason.CONTINUE
    assert decisions["a", "z"].p_value == pytest.approx(min(1.0, 9 * alone.p_value))
    assert not all_stopped(decisions)
    assert all_stopped({("a", "b"): alone})


def test_looks_up_to_a_maximum() -> None:
    assert looks_up_to(30) == (3, 5, 8, 12, 20, 30)
    assert looks_up_to(10) == (3, 5, 8, 10)
    assert looks_up_to(2) == (2,)


@pytest.mark.parametrize("test_sd", [0.0, 0.3, 1.0, 3.0])
def test_looking_early_does_not_raise_the_error_rate(test_sd: float) -> None:
    """Many studies without a difference, in units of one seed's SD; some of them through `look` itself."""
    rng, plan, reps = np.random.default_rng(5), SequentialPlan(), 10_000
    test = rng.normal(0, test_sd, (reps, 1))
    seeds = rng.normal(0, 1, (reps, plan.looks[-1]))
    crossed, naive = np.zeros((2, len(plan.looks), reps), dtype=bool)
    seen = [(test[:, 0] + seeds[:, :n].mean(1), seeds[:, :n].var(1, ddof=1) / n) for n in plan.looks]
    for k, (n, (mean, variance)) in enumerate(zip(plan.looks, seen, strict=True)):
        width = np.hypot(leg(0.05, variance, n - 1, 1 / 6), leg(0.05, test_sd**2, split=0.75))
        crossed[k] = np.abs(mean) > width
        naive[k] = np.abs(mean) > np.hypot(leg(0.05, variance, n - 1), leg(0.05, test_sd**2))
    assert crossed.any(axis=0).mean() <= 0.05 + 3 * (0.05 * 0.95 / reps) ** 0.5
    assert naive.any(axis=0).mean() > 0.055 + 0.05 * (test_sd < 0.5)
    wrong = np.flatnonzero(crossed[:2].any(axis=0))[:5]
    for rep in [*range(10), *wrong]:
        history = [
            at(n, mean[rep] / 9, var[rep] / 81, test_sd**2 / 81)
            for n, (mean, var) in zip((3, 5), seen, strict=False)
        ]
        decision = look(plan, history)
        assert (decision.reason in (Reason.A_BETTER, Reason.B_BETTER)) is bool(crossed[:2, rep].any())


def test_decisions_and_plans_survive_json() -> None:
    plan = SequentialPlan(equivalence=0.01)
    decision = look(plan, [at(3, 0.001)])
    for value, kind in ((plan, SequentialPlan), (decision, Decision)):
        text = json.dumps(dataclasses.asdict(value), allow_nan=False)
        assert TypeAdapter(kind).validate_json(text) == value


def test_a_rule_that_cannot_hold_is_refused() -> None:
    for looks in ((), (1, 3), (5, 5), (8, 3)):
        with pytest.raises(
            EvidenceError, match="looks must be rising numbers of seeds from 2 on, such as 3,5,8"
        ):
            SequentialPlan(looks=looks)
    with pytest.raises(EvidenceError, match=r"margin lies between 0 and 1 \(0\.01 is one point\), got 0"):
        SequentialPlan(equivalence=0.0)
    plan = SequentialPlan(looks=(3, 5))
    for history in ([], [at(4, 0.0)], [at(3, 0.0), at(3, 0.0)], [at(3, 0.0), at(5, 0.0), at(8, 0.0)]):
        with pytest.raises(EvidenceError, match="looks were declared at 3, 5 seeds, but came at"):
            look(plan, history)
    with pytest.raises(EvidenceError, match="a look needs at least 2 seeds, got 1"):
        snapshot(compare_predictions(np.ones((1, 9), bool), np.zeros((1, 9), bool)))
