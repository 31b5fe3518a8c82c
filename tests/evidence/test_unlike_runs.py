"""Failed runs, unlike seeds, too few, guessers: each pair is judged by what it has, and the rest is told."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from crossed_data import right_or_wrong
from test_judgement import judged, planned, world

from synthetic_study import write_study
from tiebreak.actions.explain import answer_questions
from tiebreak.actions.judge import as_json, judge
from tiebreak.errors import EvidenceError
from tiebreak.evidence.claims.check import check_claims
from tiebreak.evidence.claims.outcome import Finding, claim_line
from tiebreak.evidence.compare.judgement import judge_study
from tiebreak.evidence.compare.notes import fisher_exact
from tiebreak.evidence.compare.pair import compare_predictions
from tiebreak.evidence.compare.power import setting_from_pilot
from tiebreak.evidence.compare.quantities import compare_quantity
from tiebreak.evidence.compare.scope import scope, time_taken
from tiebreak.evidence.compare.verdict import Outcome
from tiebreak.evidence.describe.quality import summarise_contenders
from tiebreak.evidence.plan.budget import basis_from_pilot
from tiebreak.report.text.values import judgement_as_json
from tiebreak.study.plan import make_study, parse_contender
from tiebreak.study.questions import Question, matched_mlp, needed_contenders
from tiebreak.study.results import in_words, study_results
from tiebreak.study.store import read_study
from tiebreak.training.recipe.recipe import Recipe


def test_each_pair_is_judged_by_the_seeds_that_both_have(tmp_path):
    """A contender that fails three of four seeds leaves the other two their four."""
    correct = world(0.9, 0.6, 0.7)
    folder = write_study(
        tmp_path / "s", planned("abc", seeds=4), correct, failed=[("c", 0), ("c", 1), ("c", 3)]
    )
    found = judged(folder)
    seeds = {(j.a, j.b): j.verdict.comparison.n_seeds for j in found.judgements}
    assert seeds == {("a", "b"): 4, ("a", "c"): 1, ("c", "b"): 1}
    [pair] = [j for j in found.judgements if (j.a, j.b) == ("a", "b")]
    assert pair.verdict.comparison == compare_predictions(correct["a"][:4], correct["b"][:4])
    assert pair.verdict.outcome is Outcome.A_BETTER
    # The table and the ranking give one number for one thing.
    table = {one.label: one.test_acc.mean for one in summarise_contenders(study_results(read_study(folder)))}
    assert {one.name: one.accuracy for one in found.ranking.standings} == pytest.approx(table)
    assert table["c"] == pytest.approx(correct["c"][2].mean())
    places = {one.name: (one.letters, one.may_be_best) for one in found.ranking.standings}
    assert places == {"a": ("a", True), "b": ("b", False), "c": ("", None)}
    assert "too few seeds to rank c: a place in the ranking takes at least 3." in found.notes
    assert any(
        "(Fisher's exact test: a against c p = 0.14; b against c p = 0.14)" in note for note in found.notes
    )


def test_one_that_leads_on_the_common_seeds_is_a_though_its_mean_is_lower(tmp_path):
    correct = world(0.8, 0.7, luck=0.0)
    correct["a"] = correct["a"].copy()
    correct["a"][4] = False  # a seed that b does not have
    found = judged(write_study(tmp_path / "s", planned(), correct, failed=[("b", 4)]))
    assert [one.name for one in found.ranking.standings] == ["b", "a"]
    [judgement] = found.judgements
    assert (judgement.a, judgement.verdict.comparison.difference > 0) == ("a", True)
    assert [one.may_be_best for one in found.ranking.standings] == [False, True]


def test_a_contender_without_runs_is_named_and_the_others_are_judged(tmp_path):
    correct = world(0.9, 0.6, 0.7)
    folder = write_study(tmp_path / "s", planned("abc"), correct, failed=[("c", seed) for seed in range(5)])
    results = study_results(read_study(folder))
    assert (results.labels, [one.label for one in results.without_runs]) == (("a", "b"), ["c"])
    found = judge_study(results)
    assert [(j.a, j.b) for j in found.judgements] == [("a", "b")]
    assert found.notes[0] == "c is not judged: all 5 runs failed (the loss is not a number)."
    assert [one.label for one in summarise_contenders(results)] == ["a", "b"]
    assert [j.sentence for j in compare_quantity(results, "loss")]
    shown, unknown = check_claims(results, ["a > b", "a > c"])
    assert shown.finding is Finding.SHOWN
    assert claim_line(unknown) == "not enough data: a > c (c: all 5 runs failed (the loss is not a number))"
    with pytest.raises(EvidenceError, match="c cannot be judged: all 5 runs failed"):
        results.of("c")
    text = json.dumps(as_json(judge(folder)), allow_nan=False)
    assert json.loads(text)["without_runs"]["c"]["failed"] == dict.fromkeys(
        "01234", "the loss is not a number"
    )


def test_without_the_baselines_runs_nothing_is_compared(tmp_path):
    failed = [("b", seed) for seed in range(5)]
    found = judged(
        write_study(tmp_path / "s", planned("abc", baseline="b"), world(0.9, 0.6, 0.7), failed=failed)
    )
    assert (found.ranking, found.judgements) == (None, ())
    assert found.notes[1] == "nothing is compared, because the baseline has no run."


def test_two_seeds_cannot_rank_and_give_no_interval_that_says_nothing(tmp_path):
    found = judged(write_study(tmp_path / "s", planned("abc", seeds=2), world(0.9, 0.26, 0.88)))
    assert [(one.letters, one.may_be_best) for one in found.ranking.standings] == [("", None)] * 3
    assert "too few seeds to rank a, c, b: a place in the ranking takes at least 3." in found.notes
    [close] = [j for j in found.judgements if {j.a, j.b} == {"a", "c"}]
    assert close.sentence.startswith("undecided: 2 seeds cannot tell; a leads c by ")
    assert "CI" not in close.sentence
    assert close.sentence.endswith("Train a third seed: two show too little of the luck of the seed.")


def test_who_is_near_chance_is_named_beside_what_a_constant_gets(tmp_path):
    """600 test images of three classes: a third, and two standard errors of it."""
    found = judged(write_study(tmp_path / "s", planned(), world(0.8, 0.35)))
    [note] = found.notes
    assert re.fullmatch(
        r"near chance: b \(3\d\.\d%\); always answering cat is right on 33\.3% of the test images\.", note
    )
    assert judged(write_study(tmp_path / "t", planned(), world(0.8, 0.5))).notes == ()
    results = study_results(read_study(tmp_path / "t"))
    skewed = replace(results, examples=replace(results.examples, truth=np.array([0] * 570 + [1] * 30)))
    assert "always answering cat is right on 95.0% of the test images" in judge_study(skewed).notes[0]


def test_a_sentence_tells_what_it_holds_for(tmp_path):
    study = planned()
    results = study_results(read_study(write_study(tmp_path / "s", study, world(0.8, 0.7))))
    recipe, of_b = "5 epochs, Adam, lr 0.001", "1 epoch, SGD, lr 0.1, flip"
    [judgement] = judge_study(results).judgements
    same = f"This holds for this recipe ({recipe}, tuned for neither); both took about as long."
    assert judgement.beside == same
    other = Recipe(optimizer="sgd", lr=0.1, flip=True, epochs=1)
    assert in_words(study.contenders[1].model_copy(update={"recipe": other})) == of_b
    [a, b] = results.contenders
    slow = {seed: replace(run, timing=replace(run.timing, train_seconds=5.4)) for seed, run in b.runs.items()}
    [judgement] = judge_study(replace(results, contenders=(a, replace(b, runs=slow, recipe=of_b)))).judgements
    assert judgement.beside == (
        f"This holds for these recipes (a: {recipe}; b: {of_b}; tuned for neither); "
        "b took 2.7 times the seconds of a."
    )
    slower = {seed: replace(run, timing=replace(run.timing, train_seconds=226)) for seed, run in slow.items()}
    times = time_taken(replace(results, contenders=(a, replace(b, runs=slower))), "a", "b")
    assert times == "b took 110 times the seconds of a"
    foreign = [
        replace(one, recipe=None, runs={s: replace(run, timing=None) for s, run in one.runs.items()})
        for one in results.contenders
    ]
    # What is known of nobody is not told, and JSON has no times in its words.
    unknown = replace(results, contenders=tuple(foreign))
    assert (scope(unknown, "a", "b"), time_taken(unknown, "a", "b")) == (None, None)
    assert "took" not in json.dumps(judgement_as_json(judgement))


@pytest.mark.parametrize("counts", [(0, 5, 3, 5), (1, 4, 1, 1), (2, 10, 5, 12), (0, 3, 0, 3)])
def test_failures_are_compared_by_fishers_exact_test(counts):
    failed_a, runs_a, failed_b, runs_b = counts
    table = [[failed_a, runs_a - failed_a], [failed_b, runs_b - failed_b]]
    assert fisher_exact(*counts) == pytest.approx(scipy.stats.fisher_exact(table).pvalue, rel=1e-12)


def test_a_question_whose_runs_are_missing_leaves_the_others_their_answers(tmp_path):
    a, b = (parse_contender(text, Recipe()) for text in ("mlp", "cnn"))
    asked = [Question.ARRANGEMENT, Question.SIZE]
    contenders = needed_contenders(asked, a, b)
    rows = right_or_wrong(np.random.default_rng(0), (0.8,) * len(contenders), 3, 60)
    labels = [contender.label for contender in contenders]
    lost = matched_mlp(b, "flops").label
    folder = write_study(
        tmp_path / "s",
        make_study(contenders=contenders, seeds=3),
        dict(zip(labels, rows, strict=True)),
        failed=[(lost, seed) for seed in range(3)],
    )
    answer = answer_questions(read_study(folder), asked, a, b)
    assert answer.arrangement is not None and answer.size is None
    assert answer.sentences[-1].startswith("Cannot answer size: ")
    assert f"{lost} cannot be judged: all 3 runs failed (the loss is not a number)" in answer.sentences[-1]


def test_a_plan_is_for_the_pair_that_is_named(tmp_path):
    correct = world(0.9, 0.6, 0.7)
    results = study_results(
        read_study(write_study(tmp_path / "s", planned("abc"), correct, failed=[("c", s) for s in range(4)]))
    )
    # With one seed in common, c is no pair to plan for; a and b are.
    for basis in (basis_from_pilot(results), basis_from_pilot(results, chosen=("b", "a"))):
        assert basis.source == "a pilot of 5 seeds: a against b"
        alone = setting_from_pilot(compare_predictions(correct["a"][:5], correct["b"][:5]), comparisons=3)
        assert basis.setting == alone
    with pytest.raises(EvidenceError, match="needs at least 2 seeds that a and c share"):
        basis_from_pilot(results, chosen=("a", "c"))
    with pytest.raises(EvidenceError, match="no contender 'd'; there are a, b, c"):
        basis_from_pilot(results, chosen=("a", "d"))
