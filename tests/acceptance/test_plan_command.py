"""`tiebreak plan`: seeds, time and the smallest difference, from a pilot or from bounds."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from synthetic_study import write_study
from tiebreak.evidence.compare.pair import compare_predictions
from tiebreak.evidence.compare.power import power, setting_from_pilot
from tiebreak.study.plan import Contender, make_study

FREE = ("--test-images", 10_000, "--accuracy", 0.95)


def contenders(*names):
    return [Contender(label=name, model="linear") for name in names]


@pytest.fixture
def predicted():
    rng = np.random.default_rng(4)
    hard = rng.random(1_000) < 0.1
    return {name: (rng.random((3, 1_000)) < 0.9) & ~hard for name in ("cnn", "mlp")}


@pytest.fixture
def pilot(tmp_path, predicted):
    return write_study(
        tmp_path / "pilot", make_study(contenders=contenders("cnn", "mlp"), seeds=3), predicted
    )


def answer(done):
    assert done.status == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_pilot_gives_seeds_time_and_curve(pilot, predicted, tiebreak, tmp_path):
    done = tiebreak("plan", "--difference", 0.03, "--pilot", pilot, "--out", "figures")
    assert done.status == 0, done.stderr
    assert "Planned from a pilot of 3 seeds: " in done.stdout
    assert "The smallest difference this test set can ever show: " in done.stdout
    for kind in ("svg", "png"):
        assert (tmp_path / "figures" / f"power.{kind}").stat().st_size > 1000
    with Image.open(tmp_path / "figures" / "power.png") as picture:
        assert picture.width > 500
    planned = answer(tiebreak("plan", "--difference", 0.03, "--pilot", pilot, "--json"))
    assert f"{planned['seeds']} seeds" in done.stdout
    # Each made-up run takes 2.5 seconds, and there are two contenders.
    assert planned["train_seconds"] == pytest.approx(5.0 * planned["seeds"])
    setting = setting_from_pilot(compare_predictions(predicted["cnn"], predicted["mlp"]))
    assert power(setting, planned["seeds"], 0.03) >= 0.8 > power(setting, planned["seeds"] - 1, 0.03)
    at = {point["seeds"]: point["power"] for point in planned["curve"]}
    assert at[planned["seeds"]] == pytest.approx(power(setting, planned["seeds"], 0.03))


def test_an_unpaired_pilot_never_promises_that_the_test_set_shows_everything(predicted, tiebreak, tmp_path):
    """Their images' part is mostly estimated as 0; what that leaves open is planned for."""
    for name, rows in predicted.items():
        np.savez(tmp_path / f"{name}.npz", rows.astype(np.int64))
    np.save(tmp_path / "labels.npy", np.ones(1_000, dtype=np.int64))
    files = [tmp_path / "cnn.npz", tmp_path / "mlp.npz"]
    assert (
        tiebreak("judge", *files, "--labels", tmp_path / "labels.npy", "--out", tmp_path / "judged").status
        == 0
    )
    planned = answer(tiebreak("plan", "--difference", 0.03, "--pilot", tmp_path / "judged", "--json"))
    assert planned["smallest_difference"] > 0.003


def test_more_power_and_a_higher_level_take_more_seeds(pilot, tiebreak):
    base = ("plan", "--difference", 0.03, "--pilot", pilot, "--json")
    usual, powerful, strict = (
        answer(tiebreak(*base, *more)) for more in ((), ("--power", 0.95), ("--level", 0.99))
    )
    assert usual["seeds"] < powerful["seeds"]
    assert usual["seeds"] < strict["seeds"]
    assert (usual["level"], strict["level"]) == (0.95, 0.99)


def test_without_a_pilot_bounds_are_used_and_named(tiebreak):
    done = tiebreak("plan", "--difference", 0.02, *FREE)
    assert done.status == 0, done.stderr
    assert "for want of a pilot" in done.stdout
    assert "accuracy varying by 0.5 points from seed to seed" in done.stdout
    assert "training time" not in done.stdout
    planned = answer(tiebreak("plan", "--difference", 0.02, *FREE, "--json"))
    assert planned["train_seconds"] is None
    # Errors that are not shared: 2 p (1 - p) of the images; 2.80 standard errors make 80% power.
    bound = math.sqrt((2 * 0.95 * 0.05 - 0.02**2) / 10_000)
    assert planned["smallest_difference"] == pytest.approx(2.80 * bound, rel=1e-3)
    of_three = answer(tiebreak("plan", "--difference", 0.02, *FREE, "--contenders", 3, "--json"))
    assert of_three["smallest_difference"] > planned["smallest_difference"]


def test_what_no_number_of_seeds_can_show_is_said(tiebreak):
    done = tiebreak("plan", "--difference", 0.001, *FREE)
    assert done.status == 0, done.stderr
    assert "No number of seeds shows a difference of 0.1 points with 80% power" in done.stdout
    assert "the test set of 10,000 images is too small; about 1,100,000 would do." in done.stdout


def test_seeds_that_differ_too_much_are_told_from_a_small_test_set(tmp_path, tiebreak):
    rng = np.random.default_rng(6)
    shares = {"cnn": [[0.9], [0.3], [0.9]], "mlp": [[0.3], [0.9], [0.3]]}
    wild = {name: rng.random((3, 2_000)) < np.array(share) for name, share in shares.items()}
    write_study(tmp_path / "wild", make_study(contenders=contenders("cnn", "mlp"), seeds=3), wild)
    done = tiebreak("plan", "--difference", 0.06, "--pilot", "wild")
    assert "takes more than 1,000 seeds: they differ too much." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--difference", 0.01), "a plan needs a pilot study (--pilot), or the number of test images"),
        (("--difference", 0.01, "--accuracy", 0.9), "a plan needs a pilot study"),
        (("--difference", 0, *FREE), "a difference must lie between 0 and 1 (0.01 is one point), got 0."),
        (("--difference", 1, *FREE), "a difference must lie between 0 and 1 (0.01 is one point), got 1."),
        (("--difference", 0.01, *FREE, "--power", 1), "a power must lie between 0 and 1"),
        (("--difference", 0.01, *FREE, "--level", 95), "a confidence level must lie between 0 and 1"),
        (
            ("--difference", 0.01, "--test-images", 100, "--accuracy", 95),
            "an accuracy must lie between 0 and 1",
        ),
        (("--difference", 0.01, "--pilot", "nowhere"), "nowhere: no such folder"),
        ((), "Missing option '--difference'"),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_line(arguments, message, tiebreak):
    done = tiebreak("plan", *arguments)
    assert (done.status, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr


def test_a_pilot_needs_two_seeds_and_two_contenders(tmp_path, predicted, tiebreak):
    one_seed = make_study(contenders=contenders("cnn", "mlp"), seeds=1)
    alone = make_study(contenders=contenders("cnn"), seeds=3)
    write_study(tmp_path / "one", one_seed, predicted)
    write_study(tmp_path / "alone", alone, predicted)
    for folder, message in (
        ("one", "a pilot needs at least 2 seeds that 2 contenders share"),
        ("alone", "2 contenders share"),
    ):
        done = tiebreak("plan", "--difference", 0.01, "--pilot", folder)
        assert done.status == 2
        assert message in done.stderr
