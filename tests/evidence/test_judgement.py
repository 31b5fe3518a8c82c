"""From a study folder to verdicts: pairs, margins, baselines, looks, failed runs, other quantities."""

import re
from pathlib import Path

import numpy as np
import pytest
from crossed_data import right_or_wrong
from sklearn.metrics import log_loss

from forged import edit_json
from synthetic_study import result, write_study
from tiebreak.actions.run import seeds_to_train
from tiebreak.errors import EvidenceError
from tiebreak.evidence.claims.check import check_claims, measured_values
from tiebreak.evidence.claims.outcome import Finding
from tiebreak.evidence.compare.judgement import judge_study, uncertainty
from tiebreak.evidence.compare.pair import compare_predictions
from tiebreak.evidence.compare.quantities import compare_quantity, judged_results
from tiebreak.evidence.compare.sequential import Reason, SequentialPlan, look, snapshot
from tiebreak.evidence.compare.simultaneous import holm
from tiebreak.evidence.compare.until_decided import take_looks
from tiebreak.evidence.compare.verdict import Need, NextStep, Outcome, equivalence_p
from tiebreak.study.plan import Contender, Study, choose_seeds, make_study
from tiebreak.study.results import study_results
from tiebreak.study.store import read_study
from tiebreak.study.writing import write_failed_run, write_run


def world(
    *accuracies: float, seeds: int = 30, images: int = 600, luck: float = 0.02
) -> dict[str, np.ndarray]:
    rows = right_or_wrong(np.random.default_rng(5), accuracies, seeds, images, luck=luck)
    return dict(zip("abc", rows, strict=False))


def planned(labels: str = "ab", **fields) -> Study:
    contenders = tuple(Contender(label=label, model="linear") for label in labels)
    return make_study(contenders=contenders, **{"seeds": 5, **fields})


def judged(folder: Path):
    return judge_study(study_results(read_study(folder)))


def test_runs_of_a_contender_that_were_computed_otherwise_are_told(tmp_path):
    folder = write_study(tmp_path / "s", planned(), world(0.8, 0.7))
    assert judged(folder).notes == ()
    record = folder / "runs" / "b" / "seed-3" / "run.json"
    edit_json(record, lambda run: run["placement"].update(winograd=True))
    [note] = judged(folder).notes
    assert note.startswith("some runs of b (winograd in run.json) were computed otherwise than others")


def test_a_study_of_fixed_size_is_judged_as_its_predictions_are(tmp_path):
    correct = world(0.8, 0.7)
    found = judged(write_study(tmp_path / "s", planned(), correct))
    [judgement] = found.judgements
    assert (judgement.a, judgement.b, found.looks, found.notes) == ("a", "b", None, ())
    alone = compare_predictions(correct["a"][:5], correct["b"][:5])
    assert judgement.verdict.comparison == alone
    low, high = alone.seed_share
    share = f"Uncertainty: {low:.0%} to {high:.0%} from the seeds, the rest from the choice of test images"
    assert uncertainty(alone) == f"{share}."
    ten = compare_predictions(correct["a"][:10], correct["b"][:10])
    assert uncertainty(ten).endswith(f"; pairing by seed: correlation {ten.pair_correlation:.2f}.")


def test_equivalences_are_adjusted_for_their_number(tmp_path):
    found = judged(write_study(tmp_path / "s", planned("abc", equivalence=0.2), world(0.8, 0.8, 0.7)))
    raw = {(j.a, j.b): equivalence_p(j.verdict.comparison, 0.2) for j in found.judgements}
    adjusted = {(j.a, j.b): j.verdict.p_equivalence for j in found.judgements}
    assert adjusted == holm(raw)
    assert adjusted != raw
    assert {j.verdict.margin for j in found.judgements} == {0.2}


def test_a_baseline_is_compared_with_each_and_nothing_else(tmp_path):
    found = judged(write_study(tmp_path / "s", planned("abc", baseline="b"), world(0.8, 0.6, 0.7)))
    assert [(j.a, j.b) for j in found.judgements] == [("a", "b"), ("c", "b")]
    assert found.ranking.baseline == "b"
    assert {standing.letters for standing in found.ranking.standings} == {""}


def test_a_failed_seed_is_left_out_and_said_and_a_collapsed_one_named(tmp_path):
    correct = world(0.8, 0.7)
    correct["b"] = correct["b"].copy()
    correct["b"][4, 60:] = False
    folder = write_study(tmp_path / "s", planned(), correct, failed=[("a", 1)])
    found = judged(folder)
    [judgement] = found.judgements
    assert judgement.verdict.comparison.n_seeds == 4
    assert found.notes == (
        "failed: 1 of 5 runs of a, 0 of 5 runs of b (Fisher's exact test: a against b p = 1); the verdicts "
        "hold given that training ends.",
        "each pair is compared on the seeds that both have finished; an accuracy in the table is over all "
        "seeds of its contender.",
    )
    assert "given that training ends" in judgement.scope
    assert "Seed 4 of b collapsed" in judgement.sentence


def test_a_study_that_is_not_finished_says_so(tmp_path):
    found = judged(write_study(tmp_path / "s", planned(), world(0.8, 0.7), seeds=range(3)))
    assert found.judgements[0].verdict.comparison.n_seeds == 3
    assert found.notes[0].startswith("unfinished: seeds 3, 4 still to be trained.")


# Seeds until decided


def auto(labels: str = "ab", max_seeds: int = 8, **fields) -> Study:
    return planned(labels, **choose_seeds(None, None, max_seeds), **fields)


def train_all(study: Study, folder: Path, correct: dict[str, np.ndarray]) -> list[int]:
    """What the driver does, with made-up runs; gives the numbers of seeds asked for."""
    asked = []
    folder = write_study(folder, study, correct, seeds=[])
    for seeds in seeds_to_train(study, folder):
        new = seeds[asked[-1] if asked else 0 :]
        asked.append(len(seeds))
        for contender in study.contenders:
            for seed in new:
                run = result(correct[contender.label][seed])
                write_run(folder, contender, seed, run, "cpu", 1)
    return asked


def test_it_stops_at_the_first_look_that_shows_a_difference(tmp_path):
    correct, study = world(0.9, 0.6), auto()
    assert train_all(study, tmp_path / "s", correct) == [3]
    found = judged(tmp_path / "s")
    [judgement] = found.judgements
    alone = compare_predictions(correct["a"][:3], correct["b"][:3])
    decision = look(SequentialPlan(looks=(3, 5, 8)), [snapshot(alone)])
    held = judgement.verdict.comparison
    assert (held.ci_low, held.ci_high) == (decision.ci_low, decision.ci_high)
    assert held.ci_high - held.ci_low > alone.ci_high - alone.ci_low  # early looks have their price
    assert judgement.verdict.outcome is Outcome.A_BETTER
    assert re.match(r"a beats b by \d+\.\d points \(95% CI .+; 3 paired seeds", judgement.sentence)
    assert found.looks.stopped
    assert "stopped at the look at 3 seeds: a difference is shown" in found.notes[0]
    assert "tends to be too large" in found.notes[1]


def test_it_stops_on_equivalence_with_one_interval_for_both_claims(tmp_path):
    study = auto(max_seeds=30, equivalence=0.08)
    asked = train_all(study, tmp_path / "s", world(0.8, 0.8))
    found = judged(tmp_path / "s")
    [judgement] = found.judgements
    assert asked[-1] < 30
    assert judgement.verdict.outcome is Outcome.EQUIVALENT
    assert "equivalent within 8 points" in judgement.sentence
    assert "(95% CI " in judgement.sentence
    assert max(abs(judgement.verdict.comparison.ci_low), judgement.verdict.comparison.ci_high) < 0.08
    assert "equivalence is shown" in found.notes[0]


def test_it_stops_where_only_more_images_could_help(tmp_path):
    # The two share all luck but for the images, of which there are too few.
    rng = np.random.default_rng(1)
    one = np.tile(rng.random(300) < 0.8, (30, 1)) ^ (rng.random((30, 300)) < 0.01)
    other = np.tile(rng.random(300) < 0.8, (30, 1)) ^ (rng.random((30, 300)) < 0.01)
    asked = train_all(auto(max_seeds=30), tmp_path / "s", {"a": one, "b": other})
    [judgement] = judged(tmp_path / "s").judgements
    assert asked == [3]
    assert judgement.verdict.outcome is Outcome.UNDECIDED
    assert judgement.verdict.next_step.need in (Need.MORE_IMAGES, Need.A_MARGIN)
    assert "more seeds are unlikely to decide" in judged(tmp_path / "s").notes[0]


def test_it_ends_at_the_last_look(tmp_path):
    assert train_all(auto(), tmp_path / "s", world(0.8, 0.795, luck=0.1)) == [3, 5, 8]
    found = judged(tmp_path / "s")
    assert found.judgements[0].verdict.outcome is Outcome.UNDECIDED
    assert "it was the last one" in found.notes[0]
    assert "plan a new study" in found.notes[1]


def test_what_lies_beyond_the_look_changes_nothing(tmp_path):
    correct, study = world(0.9, 0.6), auto()
    train_all(study, tmp_path / "s", correct)
    before = judged(tmp_path / "s")
    write_study(tmp_path / "s", study, {"a": correct["b"], "b": correct["a"]}, seeds=range(3, 8))
    assert judged(tmp_path / "s") == before
    assert [len(seeds) for seeds in seeds_to_train(study, tmp_path / "s")] == [3]


def test_between_two_looks_the_latest_complete_one_counts(tmp_path):
    correct, study = world(0.8, 0.795, luck=0.1), auto()
    folder = write_study(tmp_path / "s", study, correct, seeds=range(2))
    found = judged(folder)
    assert (found.ranking, found.judgements, found.looks.looks_done) == (None, (), 0)
    assert found.notes == (
        "unfinished: nothing is judged before the first look, at 3 seeds of each contender.",
    )
    with pytest.raises(EvidenceError, match="the first look, at 3 seeds, is not complete"):
        judged_results(study_results(read_study(folder)))
    found = judged(write_study(folder, study, correct, seeds=range(4)))
    assert found.judgements[0].verdict.comparison.n_seeds == 3
    assert found.judgements[0].sentence.startswith("undecided: ")
    assert found.judgements[0].verdict.next_step == NextStep(need=Need.NEXT_LOOK, total=5)
    assert "The next look is at 5 seeds." in found.judgements[0].sentence
    assert found.notes[0].startswith("unfinished: this is the look at 3 seeds, the next is at 5.")


def test_a_look_that_failed_runs_leave_empty_is_passed_over(tmp_path):
    correct, study = world(0.8, 0.795, luck=0.1), auto(max_seeds=12)
    folder = write_study(
        tmp_path / "s", study, correct, seeds=range(8), failed=[("a", 0), ("b", 2), ("a", 3), ("a", 4)]
    )
    state, ranking = take_looks(study_results(read_study(folder)))
    assert (state.looks_done, state.seeds, state.next_look) == (3, (1, 5, 6, 7), 12)
    assert ranking.pairs[0].comparison.n_seeds == 4
    alone = compare_predictions(correct["a"][[1, 5, 6, 7]], correct["b"][[1, 5, 6, 7]])
    plan = SequentialPlan(looks=study.looks)
    decision = look(plan, [snapshot(alone)], looks_done=3)
    assert abs(state.decisions[ranking.pairs[0].a, ranking.pairs[0].b].difference) == abs(decision.difference)
    assert decision.reason is Reason.CONTINUE
    for seed in range(8, 12):
        for contender in study.contenders:
            write_failed_run(folder, contender, seed, "diverged")
    assert take_looks(study_results(read_study(folder)))[0].stopped


def test_of_three_contenders_all_pairs_must_be_settled(tmp_path):
    asked = train_all(auto("abc"), tmp_path / "s", world(0.9, 0.6, 0.6, luck=0.1))
    found = judged(tmp_path / "s")
    reasons = {pair: decision.reason for pair, decision in found.looks.decisions.items()}
    assert asked == [3, 5, 8]
    assert sorted(reason.value for reason in reasons.values()) == ["a better", "a better", "last look"]
    assert [standing.letters for standing in found.ranking.standings] == ["a", "b", "b"]
    assert [standing.may_be_best for standing in found.ranking.standings] == [True, False, False]


def test_a_claim_about_accuracy_has_the_interval_of_the_verdict(tmp_path):
    for number, accuracies in enumerate([(0.8, 0.795), (0.9, 0.6), (0.8, 0.76)]):
        correct, folder = world(*accuracies, luck=0.05), tmp_path / str(number)
        train_all(auto(), folder, correct)
        [judgement] = judged(folder).judgements
        held = judgement.verdict.comparison
        results = study_results(read_study(folder))
        [claim, loss] = check_claims(results, ["a - b > 0", "a.test_loss < b.test_loss"])
        sign = 1 if judgement.a == "a" else -1
        assert sorted((sign * claim.low, sign * claim.high)) == pytest.approx([held.ci_low, held.ci_high])
        assert claim.level == 0.95
        assert loss.level == pytest.approx(1 - 0.05 / 3)
        better = {1: Outcome.A_BETTER, -1: Outcome.B_BETTER}[sign]
        assert (claim.finding is Finding.SHOWN) is (judgement.verdict.outcome is better)


def test_under_looks_each_pair_has_its_own_seeds(tmp_path):
    correct, study = world(0.9, 0.6, 0.7), auto("abc")
    folder = write_study(tmp_path / "s", study, correct, seeds=range(3), failed=[("c", 0), ("c", 1)])
    state, ranking = take_looks(study_results(read_study(folder)))
    # Those two are decided; with c, no pair has the two seeds that a look takes.
    assert {pair: decision.stop for pair, decision in state.decisions.items()} == {("a", "b"): True}
    assert ranking.pairs[0].comparison.n_seeds == 3
    assert (state.looks_done, state.seeds, state.stopped) == (1, (0, 1, 2), False)
    alone = write_study(
        tmp_path / "t", auto(), correct, seeds=range(3), failed=[("b", seed) for seed in range(3)]
    )
    state, ranking = take_looks(study_results(read_study(alone)))
    assert (ranking, state.stopped) == (None, True)
    assert any("too many runs failed for a comparison" in note for note in judged(alone).notes)


# Other quantities


def test_loss_brier_and_classes_are_what_their_names_say(tmp_path):
    correct = world(0.8, 0.7)
    stored = read_study(write_study(tmp_path / "s", planned(), correct))

    def difference(quantity: str) -> float:
        [judgement] = compare_quantity(study_results(stored), quantity)
        assert (judgement.a, judgement.b) == ("a", "b")
        return judgement.verdict.comparison.difference

    runs = {label: [stored.predictions(label, seed) for seed in range(5)] for label in "ab"}
    losses = {
        label: np.mean([log_loss(run.test_labels, run.test_probs.astype(np.float64)) for run in found])
        for label, found in runs.items()
    }
    assert difference("loss") == pytest.approx(losses["b"] - losses["a"], rel=1e-5)
    brier = {
        label: np.mean(
            [np.square(run.test_probs - np.eye(3)[run.test_labels]).sum(axis=1).mean() for run in found]
        )
        for label, found in runs.items()
    }
    assert difference("brier") == pytest.approx(brier["b"] - brier["a"], rel=1e-5)
    dogs = [correct[label][:5, 1::3].mean() for label in "ab"]
    assert difference("dog") == pytest.approx(dogs[0] - dogs[1])
    assert difference("accuracy") == pytest.approx(correct["a"][:5].mean() - correct["b"][:5].mean())
    assert " nats of loss " in compare_quantity(study_results(stored), "loss")[0].sentence
    with pytest.raises(EvidenceError, match='nothing called "los" can be compared'):
        compare_quantity(study_results(stored), "los")


def test_what_is_asked_beside_the_rule_allows_for_all_looks(tmp_path):
    train_all(auto(), tmp_path / "s", world(0.9, 0.6))
    stored = read_study(tmp_path / "s")
    counted, level = judged_results(study_results(stored))
    assert {tuple(one.runs) for one in counted.contenders} == {(0, 1, 2)}
    assert level == pytest.approx(1 - 0.05 / 3)
    [judgement] = compare_quantity(study_results(stored), "loss")
    assert judgement.verdict.comparison.level == pytest.approx(1 - 0.05 / 3)
    assert compare_quantity(study_results(stored), "accuracy") == judged(tmp_path / "s").judgements


def test_claims_find_what_the_runs_recorded(tmp_path):
    correct = world(0.8, 0.7)
    stored = read_study(write_study(tmp_path / "s", planned(), correct))
    measured = measured_values(study_results(stored))
    assert set(measured["a"]) == {
        "test_acc", "test_loss", "val_acc", "val_loss", "gap", "params", "flops", "train_seconds",
        "images_per_second",
    }  # fmt: skip
    assert np.array_equal(list(measured["b"]["test_acc"].values()), correct["b"][:5])
    assert (measured["a"]["params"], measured["b"]["flops"]) == (100, 400)
    assert list(measured["a"]["gap"].values()) == pytest.approx(0.9 - correct["a"][:5].mean(axis=1))
