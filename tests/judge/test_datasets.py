"""Several data sets: partial conjunction for few, signed ranks for many."""

import numpy as np
import pytest
from scipy import stats

from tiebreak.actions.judge_files import OverAll, judge
from tiebreak.evidence.compare.datasets import MeanRanks, at_least
from tiebreak.report.figures.ranks import groups


def table(sets, shares, seed=0, images=200, runs=3):
    import polars as pl

    rng, rows = np.random.default_rng(seed), []
    for name in sets:
        for model, share in shares.items():
            for run in range(runs):
                ok = rng.random(images) < share
                rows.append(
                    pl.DataFrame(
                        {"dataset": name, "model": model, "seed": run, "id": np.arange(images), "ok": ok}
                    )
                )
    return pl.concat(rows)


def test_at_least_u_of_k_keeps_its_level_and_counts_what_is_clear():
    assert at_least([1e-9, 1e-8, 1e-7], 0.025) == 3
    assert at_least([1e-9, 0.5, 0.6], 0.025) == 1
    assert at_least([0.02, 0.02, 0.02], 0.025) == 0  # 3 x 0.02 is over the level for the first
    rng = np.random.default_rng(1)
    # One data set of four is clear, three are null: "at least 2" is false.
    false = np.mean([at_least([1e-9, *rng.random(3)], 0.025) >= 2 for _ in range(20_000)])
    assert false <= 0.026


def test_few_data_sets_are_counted_and_many_are_a_sample(tmp_path):
    few = table("pqr", {"resnet": 0.9, "vit": 0.7})
    few.write_parquet(tmp_path / "few.parquet")
    over = judge(tmp_path / "few.parquet", out=tmp_path / "few")
    assert isinstance(over, OverAll)
    assert set(over.by_dataset) == set("pqr")
    (pair,) = over.over
    assert (pair.better_on, pair.worse_on) == (3, 0)
    assert "resnet beats vit on all 3 data sets" in pair.sentence
    assert "not others" in pair.sentence

    names = "pqrstuvw"
    many = table(names, {"resnet": 0.9, "vit": 0.75, "mlp": 0.6}, images=100)
    many.write_parquet(tmp_path / "many.parquet")
    over = judge(tmp_path / "many.parquet", out=tmp_path / "many")
    first = over.over[0]
    assert (first.a, first.b, first.better_on) == ("resnet", "vit", None)
    assert first.p_value == pytest.approx(stats.wilcoxon(list(first.leads.values())).pvalue)
    assert over.ranks is not None
    assert over.ranks.ranks["resnet"] == pytest.approx(1.0)
    # Demsar 2006, table 5: q at 5% for 3 classifiers is 2.343.
    assert over.ranks.critical_difference == pytest.approx(
        2.343 * np.sqrt(3 * 4 / (6 * len(names))), rel=1e-3
    )
    drawn = (tmp_path / "many" / "mean_ranks.svg").read_text()
    assert all(f"{label}  " in drawn for label in ("resnet", "vit", "mlp"))


def test_groups_hold_those_of_whom_no_two_are_a_critical_difference_apart():
    ranks = {"a": 1.2, "b": 2.0, "c": 2.9, "d": 4.4, "e": 4.5}
    assert groups(MeanRanks(ranks=ranks, critical_difference=1.0)) == [(1.2, 2.0), (2.0, 2.9), (4.4, 4.5)]
    assert groups(MeanRanks(ranks=ranks, critical_difference=4.0)) == [(1.2, 4.5)]
    assert groups(MeanRanks(ranks=ranks, critical_difference=0.05)) == []


def test_equal_contenders_are_not_told_apart(tmp_path):
    table("pqrs", {"resnet": 0.8, "vit": 0.8}).write_parquet(tmp_path / "equal.parquet")
    over = judge(tmp_path / "equal.parquet", out=tmp_path / "out")
    assert over.over[0].sentence.startswith("undecided: neither")
