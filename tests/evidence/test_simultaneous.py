"""Families of comparisons: Holm, the set that may be best, letters, a baseline."""

import dataclasses
import json
from itertools import combinations

import numpy as np
import pytest
from crossed_data import right_or_wrong
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tiebreak.errors import EvidenceError
from tiebreak.evidence.compare.pair import compare_runs
from tiebreak.evidence.compare.simultaneous import Ranking, compact_letters, compare_all, holm

NAMES = ("a", "b", "c", "d", "e")


def five(seeds: int = 5) -> dict[str, dict[int, np.ndarray]]:
    rows = right_or_wrong(np.random.default_rng(0), (0.70, 0.90, 0.80, 0.80, 0.50), seeds, 2_000)
    return by_seed(dict(zip(NAMES, rows, strict=True)))


def by_seed(correct: dict[str, np.ndarray]) -> dict[str, dict[int, np.ndarray]]:
    return {name: dict(enumerate(rows)) for name, rows in correct.items()}


def test_holm_by_hand() -> None:
    """Sorted .01 .02 .03 .04 times 4 3 2 1, and never falling: Holm 1979."""
    p = {("a", "b"): 0.03, ("a", "c"): 0.01, ("a", "d"): 0.04, ("b", "c"): 0.02}
    assert holm(p) == pytest.approx({("a", "c"): 0.04, ("b", "c"): 0.06, ("a", "b"): 0.06, ("a", "d"): 0.06})
    assert holm({("a", "b"): 0.9, ("a", "c"): 0.8})["a", "b"] == 1.0


def test_all_pairs_best_first_with_letters_and_the_best() -> None:
    ranking = compare_all(five())
    assert next(place.name for place in ranking.standings) == "b"
    assert [place.name for place in ranking.standings][-2:] == ["a", "e"]
    letters = {place.name: place.letters for place in ranking.standings}
    assert letters == {"b": "a", "c": "b", "d": "b", "a": "c", "e": "d"}
    assert [place.name for place in ranking.standings if place.may_be_best] == ["b"]
    assert len(ranking.pairs) == 10
    decided = {frozenset((pair.a, pair.b)) for pair in ranking.pairs if pair.decided}
    assert decided == {frozenset(pair) for pair in combinations(NAMES, 2)} - {frozenset("cd")}


def test_each_pair_is_the_comparison_of_two() -> None:
    correct = five()
    for pair in compare_all(correct).pairs:
        assert pair.comparison == compare_runs(correct[pair.a], correct[pair.b])
        assert pair.p_adjusted >= pair.comparison.p_value


def test_a_baseline_asks_fewer_questions() -> None:
    ranking = compare_all(five(), baseline="c")
    assert {(pair.a, pair.b) for pair in ranking.pairs} == {(name, "c") for name in "abde"}
    worst = next(pair for pair in ranking.pairs if pair.a == "e")
    assert worst.comparison.difference < 0 and worst.decided
    assert {place.letters for place in ranking.standings} == {""}
    every = {frozenset((p.a, p.b)): p.p_adjusted for p in compare_all(five()).pairs}
    assert all(pair.p_adjusted <= every[frozenset((pair.a, pair.b))] for pair in ranking.pairs)


def test_one_seed_decides_nothing() -> None:
    ranking = compare_all(five(seeds=1))
    assert not any(pair.decided for pair in ranking.pairs)
    assert all(place.may_be_best is None and place.letters == "" for place in ranking.standings)


def test_equal_contenders_share_the_first_place() -> None:
    rows = right_or_wrong(np.random.default_rng(4), (0.8,) * 4, 5, 2_000)
    ranking = compare_all(by_seed(dict(zip(NAMES, rows, strict=False))))
    assert all(place.may_be_best and place.letters == "a" for place in ranking.standings)


names = st.lists(st.sampled_from("abcdefg"), min_size=2, max_size=7, unique=True)


@given(names, st.randoms(use_true_random=False))
def test_two_share_a_letter_exactly_if_they_do_not_differ(order: list[str], random: object) -> None:
    pairs = [frozenset(pair) for pair in combinations(order, 2)]
    different = {pair for pair in pairs if random.random() < 0.4}  # type: ignore[attr-defined]
    letters = compact_letters(order, different)
    for pair in pairs:
        a, b = sorted(pair)
        assert bool(set(letters[a]) & set(letters[b])) is (pair not in different)
    assert "a" in letters[order[0]]


def test_a_ranking_survives_json() -> None:
    ranking = compare_all(five(), baseline="a")
    text = json.dumps(dataclasses.asdict(ranking), allow_nan=False)
    assert TypeAdapter(Ranking).validate_json(text) == ranking


def test_who_is_compared_must_be_known() -> None:
    with pytest.raises(EvidenceError, match="at least 2 contenders, got 1"):
        compare_all({"a": five()["a"]})
    with pytest.raises(EvidenceError, match=r'the baseline "f" is no contender\. Known: a, b, c, d, e'):
        compare_all(five(), baseline="f")
