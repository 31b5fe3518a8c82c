"""Claims: what the grammar reads, what it says to the rest, and how a claim is judged."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats
from crossed_data import right_or_wrong
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tiebreak.errors import ClaimError, TiebreakError
from tiebreak.evidence.claims.grammar import Claim, Relation, parse_claim
from tiebreak.evidence.claims.outcome import ClaimOutcome, Finding, Values, claim_line, judge_claim
from tiebreak.evidence.compare.pair import compare_predictions, compare_scores
from tiebreak.evidence.compare.verdict import Outcome, judge


def terms(claim: Claim) -> list[tuple[float, str, str]]:
    return [(term.factor, term.contender, term.metric) for term in claim.terms]


@pytest.mark.parametrize(
    ("text", "expected", "constant", "relation", "margin"),
    [
        ("cnn > mlp", [(1, "cnn", "test_acc"), (-1, "mlp", "test_acc")], 0, ">", None),
        ("cnn - mlp >= 0.15", [(1, "cnn", "test_acc"), (-1, "mlp", "test_acc")], -0.15, ">=", None),
        ("cnn.params<=mlp.params", [(1, "cnn", "params"), (-1, "mlp", "params")], 0, "<=", None),
        ("cnn.test_acc >= 65%", [(1, "cnn", "test_acc")], -0.65, ">=", None),
        ("0.2 < cnn", [(-1, "cnn", "test_acc")], 0.2, "<", None),
        ("cnn ~ resnet within 1 point", [(1, "cnn", "test_acc"), (-1, "resnet", "test_acc")], 0, "~", 0.01),
        ("cnn ~ resnet within .5pp", [(1, "cnn", "test_acc"), (-1, "resnet", "test_acc")], 0, "~", 0.005),
        ("cnn.flops < 2 * mlp.flops", [(1, "cnn", "flops"), (-2, "mlp", "flops")], 0, "<", None),
        ("-cnn + 15 points > -mlp", [(-1, "cnn", "test_acc"), (1, "mlp", "test_acc")], 0.15, ">", None),
        (
            '"cnn(width=34)" > "my model"',
            [(1, "cnn(width=34)", "test_acc"), (-1, "my model", "test_acc")],
            0,
            ">",
            None,
        ),
        ("cnn(width=34, norm=bn).params < 9e4", [(1, "cnn(width=34, norm=bn)", "params")], -9e4, "<", None),
        (
            "cnn@permute-pixels < cnn",
            [(1, "cnn@permute-pixels", "test_acc"), (-1, "cnn", "test_acc")],
            0,
            "<",
            None,
        ),
        ("cnn-small > within", [(1, "cnn-small", "test_acc"), (-1, "within", "test_acc")], 0, ">", None),
    ],
)
def test_what_the_grammar_reads(
    text: str, expected: list[object], constant: float, relation: str, margin: float | None
) -> None:
    claim = parse_claim(text)
    assert terms(claim) == expected
    assert claim.constant == pytest.approx(constant)
    assert claim.relation is Relation(relation)
    assert claim.margin == margin
    assert claim.text == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "ends too early; write a claim such as"),
        ("cnn >", '"cnn >" ends too early'),
        ("cnn ~ mlp", "ends too early"),
        ("cnn $ mlp", "at character 5 ('$')"),
        ("cnn > mlp > linear", "at character 11 ('>')"),
        ("cnn.test acc > 1", "at character 10 ('acc')"),
        ("__import__('os')", "cannot read the claim"),
        ("0.1 > 0.2", "names no contender"),
        ("cnn ~ mlp within 0", 'the margin after "within" must be above 0'),
        ("cnn > 1e999", "1e999 is too large a number"),
        ("cnn > 1e308 + 1e308", "add up to too large a number"),
        ("cnn >\n\n$", "at character 8"),
        ("c" * 1001 + " > 1", "at most 1,000 characters, got 1,005"),
    ],
)
def test_what_it_says_to_the_rest(text: str, words: str) -> None:
    with pytest.raises(ClaimError) as caught:
        parse_claim(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


WORDS = [
    "cnn",
    "mlp",
    ">=",
    "<",
    "~",
    "within",
    "0.1",
    "1e9",
    "%",
    "points",
    "-",
    "+",
    "*",
    ".",
    "(",
    ")",
    "params",
    "@",
    "=",
    '"',
    "'",
]
pieces = st.lists(st.sampled_from([*WORDS, " ", "\n", "x" * 90]), max_size=12)


@given(st.one_of(st.text(max_size=40), pieces.map("".join), pieces.map(" ".join)))
def test_any_text_is_a_claim_or_a_one_line_error(text: str) -> None:
    try:
        claim = parse_claim(text)
    except TiebreakError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert claim.terms and np.isfinite(claim.constant)


def by_seed(values: np.ndarray) -> dict[int, np.ndarray]:
    return dict(enumerate(values))


def measured(seeds: int = 5) -> dict[str, dict[str, Values]]:
    a, b, c = map(by_seed, right_or_wrong(np.random.default_rng(0), (0.7, 0.5, 0.7), seeds, 4_000, luck=0.01))
    slow, fast = ((3.0, 4.0, 5.0, 4.0, 3.0), (1.0, 1.0, 2.0, 1.0, 1.0))
    return {
        "cnn": {"test_acc": a, "params": 1_000, "train_seconds": dict(enumerate(slow[:seeds]))},
        "mlp": {"test_acc": b, "params": 2_000, "train_seconds": dict(enumerate(fast[:seeds]))},
        "resnet": {"test_acc": c, "params": 1_500, "train_seconds": dict.fromkeys(range(seeds), 1.0)},
    }


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("cnn - mlp >= 0.15", Finding.SHOWN),
        ("cnn - mlp >= 0.25", Finding.REFUTED),
        ("cnn - mlp >= 0.2", Finding.NOT_ENOUGH_DATA),
        ("mlp > cnn", Finding.REFUTED),
        ("mlp < cnn", Finding.SHOWN),
        ("mlp <= 40%", Finding.REFUTED),
        ("cnn >= 65%", Finding.SHOWN),
        ("cnn ~ resnet within 5 points", Finding.SHOWN),
        ("cnn ~ mlp within 5 points", Finding.REFUTED),
        ("cnn ~ resnet within 0.01 points", Finding.NOT_ENOUGH_DATA),
        ("cnn - mlp > resnet - cnn + 10%", Finding.SHOWN),
        ("cnn.params < mlp.params", Finding.SHOWN),
        ("cnn.params <= 1000", Finding.SHOWN),
        ("cnn.params < 1000", Finding.REFUTED),
        ("cnn.params ~ resnet.params within 500", Finding.SHOWN),
        ("cnn.train_seconds > 2 * mlp.train_seconds", Finding.SHOWN),
        ("cnn.train_seconds < 3 * mlp.train_seconds", Finding.NOT_ENOUGH_DATA),
    ],
)
def test_how_a_claim_is_judged(text: str, finding: Finding) -> None:
    outcome = judge_claim(parse_claim(text), measured())
    assert outcome.finding is finding
    kind = TypeAdapter(ClaimOutcome)
    assert kind.validate_json(json.dumps(dataclasses.asdict(outcome), allow_nan=False)) == outcome


@pytest.mark.parametrize("text", ["cnn > mlp", "cnn ~ mlp within 90%", "cnn.train_seconds > 0", "cnn < 2"])
def test_one_seed_is_never_enough(text: str) -> None:
    outcome = judge_claim(parse_claim(text), measured(seeds=1))
    assert outcome.finding is Finding.NOT_ENOUGH_DATA
    assert outcome.n_seeds == 1


@settings(max_examples=20)
@given(st.integers(0, 1_000), st.integers(2, 5))
def test_a_claim_agrees_with_the_verdict(seed: int, seeds: int) -> None:
    a, b = right_or_wrong(np.random.default_rng(seed), (0.9, 0.89), seeds, 500)
    data: dict[str, dict[str, Values]] = {"a": {"test_acc": by_seed(a)}, "b": {"test_acc": by_seed(b)}}
    comparison = compare_predictions(a, b)
    better = judge_claim(parse_claim("a > b"), data)
    assert (better.finding is Finding.SHOWN) is (judge(comparison).outcome is Outcome.A_BETTER)
    assert (better.low, better.high) == pytest.approx((comparison.ci_low, comparison.ci_high), abs=1e-12)
    alike = judge_claim(parse_claim("a ~ b within 2%"), data)
    p = judge(comparison, equivalence=0.02).p_equivalence
    assert p is not None and (alike.finding is Finding.SHOWN) is (p <= 0.05)


def test_what_is_exact_adds_no_width() -> None:
    plain = judge_claim(parse_claim("cnn > 0.5"), measured())
    beside = judge_claim(parse_claim("cnn + 2 * resnet.params > 3000.5"), measured())
    assert (beside.high or 0) - (beside.low or 0) == pytest.approx(
        (plain.high or 0) - (plain.low or 0), rel=1e-9
    )
    comparison = compare_scores(
        np.stack(list(measured()["cnn"]["test_acc"].values())) * 1.0, bound=1.0, lowest=0.0
    )
    assert (plain.low, plain.high) == (comparison.ci_low, comparison.ci_high)


def test_validation_accuracies_that_agree_are_known_to_an_image_only() -> None:
    data: dict[str, dict[str, Values]] = {
        "a": {"val_acc": {0: 0.9, 1: 0.88}},
        "b": {"val_acc": {0: 0.89, 1: 0.87}},
    }
    found = judge_claim(parse_claim("a.val_acc - b.val_acc > 0"), data, steps={"val_acc": 1 / 100})
    reach = scipy.stats.t.ppf(0.975, 1) * np.sqrt(1 / (12 * 100**2 * 2))
    assert (found.low, found.high) == pytest.approx((0.01 - reach, 0.01 + reach), rel=1e-9)
    assert found.finding is Finding.NOT_ENOUGH_DATA


def test_each_claim_has_the_seeds_that_its_contenders_share() -> None:
    data = measured()
    data["mlp"]["test_acc"] = {seed: row for seed, row in data["mlp"]["test_acc"].items() if seed != 2}
    assert judge_claim(parse_claim("cnn > mlp"), data).n_seeds == 4
    assert judge_claim(parse_claim("cnn > resnet"), data).n_seeds == 5
    data["mlp"]["test_acc"] = {7: data["cnn"]["test_acc"][0]}
    with pytest.raises(ClaimError, match=r"cnn\.test_acc, mlp\.test_acc have no seed in common"):
        judge_claim(parse_claim("cnn > mlp"), data)


def test_the_line_shows_what_was_looked_at() -> None:
    line = claim_line(judge_claim(parse_claim("cnn - mlp >= 0.15"), measured()))
    assert line.startswith("shown: cnn - mlp >= 0.15 (measured 0.2")
    assert "95% CI 0.1" in line and line.endswith(", 5 seeds)")
    assert claim_line(judge_claim(parse_claim("cnn.params < 1"), measured())) == (
        "refuted: cnn.params < 1 (measured 1,000, exact)"
    )
    alike = claim_line(judge_claim(parse_claim("cnn ~ resnet within 5%"), measured()))
    assert "90% CI" in alike


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cn > mlp", 'no contender is called "cn". Did you mean "cnn"?'),
        ("cnn-mlp > 0", "A difference takes blanks around its minus."),
        ("cnn.parms > 1", 'nothing called "parms" was measured of cnn. Did you mean "params"?'),
        ("cnn - mlp.train_seconds > 1", "were not measured on the same seeds and images"),
        ("odd.loss > 1", "odd.loss is not a finite number"),
        ("1e308 * cnn.params > 1", "exact values add up to too large a number"),
    ],
)
def test_what_was_not_measured_is_named(text: str, words: str) -> None:
    data = measured() | {"odd": {"loss": {0: 1.0, 1: np.nan}}}
    with pytest.raises(ClaimError) as caught:
        judge_claim(parse_claim(text), data)
    assert words in str(caught.value)
