"""Power and seeds: the worked table, simulation, and the limits of a test set."""

import math

import numpy as np
import pytest
import scipy.stats
from crossed_data import right_or_wrong

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.interval import leg
from tiebreak.evidence.compare.pair import compare_predictions
from tiebreak.evidence.compare.power import (
    Setting,
    bound_test_sd,
    detectable_factor,
    equivalence_power,
    inflate_pilot,
    plan_seeds,
    power,
    power_curve,
    seeds_closed_form,
    seeds_for_equivalence,
    seeds_needed,
    setting_from_pilot,
    smallest_detectable,
)
from tiebreak.evidence.compare.sequential import SequentialPlan

# (seed SD, test SD) in points: low m=360, low m=2000, mid m=2000, low m=10000, mid m=10000, high m=10000
WORLDS = ((1.25, 0.53), (0.55, 0.22), (0.92, 0.22), (0.27, 0.10), (0.78, 0.10), (3.2, 0.10))
SEEDS_FOR_80_PERCENT = {
    0.2: (None, None, None, None, None, None),
    0.5: (None, None, None, 6, 30, 471),
    1.0: (None, 6, 13, 3, 8, 90),
    2.0: (9, 3, 5, 3, 4, 23),
    5.0: (3, 3, 3, 2, 3, 6),
    20.0: (2, 2, 2, 2, 2, 3),
}


def world(index: int) -> Setting:
    seed_sd, test_sd = WORLDS[index]
    return Setting(seed_sd=seed_sd / 100, test_sd=test_sd / 100)


@pytest.mark.parametrize("difference", SEEDS_FOR_80_PERCENT)
def test_seeds_for_80_percent_power(difference: float) -> None:
    found = tuple(seeds_needed(world(i), difference / 100) for i in range(len(WORLDS)))
    assert found == SEEDS_FOR_80_PERCENT[difference]


def test_seeds_for_equivalence_within_one_point() -> None:
    found = tuple(seeds_for_equivalence(world(i), 0.01) for i in range(len(WORLDS)))
    assert found == (None, 6, 14, 3, 8, 98)


@pytest.mark.parametrize("index", range(len(WORLDS)))
def test_the_closed_form_is_within_a_seed(index: int) -> None:
    setting = world(index)
    for difference in SEEDS_FOR_80_PERCENT:
        exact = seeds_needed(setting, difference / 100)
        closed = seeds_closed_form(setting.seed_sd, setting.test_sd, difference / 100)
        if exact is None:
            assert closed == math.inf
        else:
            assert closed == pytest.approx(exact, abs=1.5)


@pytest.mark.parametrize(("n", "difference"), [(3, 0.01), (5, 0.01), (10, 0.004), (2, 0.05), (6, 0.0)])
def test_power_is_what_simulated_studies_show(n: int, difference: float) -> None:
    rng, setting, reps = np.random.default_rng(n), Setting(seed_sd=0.006, test_sd=0.002), 40_000
    seeds = rng.normal(0, setting.seed_sd, (reps, n))
    seen = difference + seeds.mean(axis=1) + rng.normal(0, setting.test_sd, reps)
    reach = np.hypot(leg(0.05, seeds.var(axis=1, ddof=1) / n, n - 1), leg(0.05, setting.test_sd**2))
    assert power(setting, n, difference) == pytest.approx(np.mean(np.abs(seen) > reach), abs=0.01)
    inner = np.hypot(leg(0.10, seeds.var(axis=1, ddof=1) / n, n - 1), leg(0.10, setting.test_sd**2))
    assert equivalence_power(setting, n, 0.01, difference) == pytest.approx(
        np.mean(np.abs(seen) + inner < 0.01), abs=0.01
    )


def test_with_the_seeds_alone_it_is_the_t_test_of_scipy() -> None:
    """The noncentral t, for one sample: an independent formula for the same power."""
    n, effect = 6, 1.2
    critical, shift = scipy.stats.t.ppf(0.975, n - 1), effect * math.sqrt(n)
    expected = scipy.stats.nct.sf(critical, n - 1, shift) + scipy.stats.nct.cdf(-critical, n - 1, shift)
    assert power(Setting(seed_sd=1.0, test_sd=0.0), n, effect) == pytest.approx(expected, abs=1e-4)


def test_what_a_test_set_can_ever_show() -> None:
    setting = Setting(seed_sd=0.005, test_sd=0.002)
    smallest = smallest_detectable(setting)
    assert smallest == pytest.approx(2.8016 * 0.002, rel=1e-4)
    assert detectable_factor() ** 2 == pytest.approx(7.849, abs=0.001)
    assert seeds_needed(setting, 0.99 * smallest) is None
    assert seeds_needed(setting, 1.2 * smallest) is not None
    advice = plan_seeds(setting, smallest / 2)
    assert (advice.seeds, advice.power) == (None, None)
    assert advice.test_set_factor == pytest.approx(1.5 * 4)
    assert plan_seeds(setting, 0.01).test_set_factor == 1.0


def test_a_curve_rises_to_the_ceiling_of_its_test_set() -> None:
    curve = power_curve(Setting(seed_sd=0.005, test_sd=0.002), np.arange(2, 60), 0.005)
    assert (np.diff(curve) > 0).all()
    ceiling = scipy.stats.norm.sf(1.96 - 0.005 / 0.002)
    assert 0.9 * ceiling < curve[-1] < ceiling


def test_more_looks_and_more_comparisons_cost_seeds() -> None:
    plain = Setting(seed_sd=0.01, test_sd=0.001)
    several = Setting(seed_sd=0.01, test_sd=0.001, comparisons=10)
    looks = Setting(seed_sd=0.01, test_sd=0.001, sequential=SequentialPlan())
    counts = [seeds_needed(setting, 0.01) for setting in (plain, looks, several)]
    assert None not in counts
    assert counts == sorted(counts, key=lambda n: n or 0) and len(set(counts)) == 3


def test_a_pilot_is_inflated_by_how_few_seeds_it_had() -> None:
    assert inflate_pilot(1.0, 3) == pytest.approx(math.sqrt(2 / scipy.stats.chi2.ppf(0.2, 2)), rel=1e-9)
    rng = np.random.default_rng(0)
    pilots = rng.normal(0, 1, (20_000, 5)).std(axis=1, ddof=1)
    assert np.mean([inflate_pilot(sd, 5) >= 1 for sd in pilots]) == pytest.approx(0.8, abs=0.01)


def test_a_setting_from_a_pilot() -> None:
    a, b = right_or_wrong(np.random.default_rng(0), (0.9, 0.88), 5, 1_000)
    pilot = compare_predictions(a, b)
    setting = setting_from_pilot(pilot, inflate=False)
    assert setting.seed_sd == pytest.approx(np.std(pilot.seed_differences, ddof=1), rel=1e-9)
    assert setting.test_sd == math.sqrt(pilot.test_variance)
    assert setting_from_pilot(pilot).seed_sd == pytest.approx(inflate_pilot(setting.seed_sd, 5))
    with pytest.raises(EvidenceError, match=r"at least 2 seeds of both contenders, got 1 \(one_seed\)"):
        setting_from_pilot(compare_predictions(a[:1], b[:1]))


def test_without_a_pilot_disagreement_bounds_the_test_part() -> None:
    tests, bounds = [], []
    for seed in range(20):
        a, b = right_or_wrong(np.random.default_rng(seed), (0.95, 0.95), 5, 2_000)
        tests.append(compare_predictions(a, b).test_variance)
        bounds.append(bound_test_sd(float((a[0] != b[0]).mean()), 0.0, 2_000) ** 2)
    assert max(tests) < min(bounds)


def test_what_cannot_be_planned_says_why() -> None:
    with pytest.raises(EvidenceError, match=r"must be 0 or more, got -1 \(seeds\) and 0 \(test set\)"):
        Setting(seed_sd=-1.0, test_sd=0.0)
    with pytest.raises(EvidenceError, match="at least 1 comparison, got 0"):
        Setting(seed_sd=1.0, test_sd=0.0, comparisons=0)
    setting = Setting(seed_sd=0.01, test_sd=0.0)
    with pytest.raises(EvidenceError, match=r"between 0 and 1 \(0\.01 is one point\), got 5"):
        plan_seeds(setting, 5.0)
    with pytest.raises(EvidenceError, match=r"power must lie between 0 and 1, such as 0\.8; got 80"):
        plan_seeds(setting, 0.5, 80.0)
    with pytest.raises(EvidenceError, match="power needs at least 2 seeds, got 1"):
        power(setting, 1, 0.01)
    with pytest.raises(EvidenceError, match="at least 2 pilot seeds, got 1"):
        inflate_pilot(1.0, 1)
    with pytest.raises(EvidenceError, match=r"at least the difference, got 0\.1 and 0\.2"):
        bound_test_sd(0.1, 0.2, 100)
