"""The benchmark measures the same work in every variant, and tells what it measured."""

import json
import multiprocessing

import pytest
import torch

from tiebreak.bench import loops, measure, table
from tiebreak.bench.side_by_side import side_by_side
from tiebreak.cli import run_command
from tiebreak.data.dataset import make_dataset
from tiebreak.kernels import usable_variants
from tiebreak.models.mlp import MLPBaseline
from tiebreak.rng import global_stream
from tiebreak.study.where.machine import available_cores

TINY = measure.Effort(rounds=2, seconds=0.0)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return make_dataset("tiny", images, torch.arange(300) % 3, images[:9], torch.arange(9) % 3, tuple("abc"))


def test_one_image_at_a_time_gives_the_pixels_of_a_batch(data):
    one_by_one = loops.OneByOne(data.train)
    images, labels = next(iter(data.train.batches(20)))
    for index in range(20):
        image, label = one_by_one[index]
        torch.testing.assert_close(image, images[index], rtol=1e-5, atol=1e-6)
        assert label == labels[index]


def test_every_variant_is_measured_for_every_model(data, monkeypatch):
    monkeypatch.setattr(measure, "available_cores", lambda: (available_cores() * 2)[:2])  # on one core too
    measured = measure.run_bench(data, effort=TINY)
    formats = list(measured.peak_gflops)
    assert formats == list(measure.fast_precisions())
    alone = ["case study's loop", "in-memory tensors", *(f"tiebreak {name}" for name in formats)]
    beside = [f"{name}, {measured.side_by_side} runs side by side" for name in alone[2:]]
    assert measured.side_by_side == 2
    assert [(row.model, row.variant) for row in measured.rows] == [
        (model, variant) for model in ("mlp", "cnn") for variant in alone + beside
    ]
    for row in measured.rows:
        assert 0 < row.ratio_low <= row.ratio <= row.ratio_high
        assert row.images_per_second > 0
        assert 0 < row.peak_share < 3
    assert [row.ratio for row in measured.rows if row.variant == alone[0]] == [1.0, 1.0]
    assert len(table.bench_table(measured).rows) == len(measured.rows)


@pytest.mark.parametrize("bf16_is_fast", [True, False])
def test_bf16_is_measured_only_where_it_is_faster(bf16_is_fast, data, monkeypatch):
    def peak(precision, seconds=0.1, size=0):
        return 2e11 if precision == "bf16" and bf16_is_fast else 1e9 if precision == "bf16" else 1e11

    monkeypatch.setattr(measure, "matrix_peak", peak)
    monkeypatch.setattr(measure, "available_cores", lambda: available_cores()[:1])
    measured = measure.run_bench(data, effort=TINY, models=["mlp"])
    assert ("tiebreak bf16" in [row.variant for row in measured.rows]) == bf16_is_fast
    assert ("bf16" in measured.peak_gflops) == bf16_is_fast
    left_out = "bf16 is left out: this processor computes it slower than fp32."
    assert (left_out in table.bench_notes(measured)) != bf16_is_fast


def test_kernels_are_told_by_name_and_only_where_they_compute(data, monkeypatch):
    monkeypatch.setattr(measure, "available_cores", lambda: available_cores()[:1])
    for switch in ("off", *usable_variants()):
        monkeypatch.setenv("TIEBREAK_KERNELS", switch)
        measured = measure.run_bench(data, effort=TINY, models=["mlp"])
        notes = "\n".join(table.bench_notes(measured))
        if switch == "off":
            assert "kernels: none, PyTorch computes." in notes
        else:
            assert f"kernels: {switch} (convolution in float32" in notes
        assert ("Winograd" in notes) == (switch != "off")


def test_on_one_core_nothing_is_side_by_side(data, monkeypatch):
    monkeypatch.setattr(measure, "available_cores", lambda: available_cores()[:1])
    measured = measure.run_bench(data, effort=TINY, models=["mlp"])
    assert (measured.threads, measured.side_by_side) == (1, 0)
    assert not any("side by side" in row.variant for row in measured.rows)


def test_processes_side_by_side_leave_when_they_are_no_longer_needed(data):
    with side_by_side("mlp", data, available_cores()[:1]) as steps_a_second:
        (process,) = multiprocessing.active_children()
        assert steps_a_second("fp32", 0.0) > 0
    assert process.exitcode == 0
    assert multiprocessing.active_children() == []


def test_floating_point_operations_of_a_step_are_those_counted_by_hand(data):
    with global_stream(0, "test"):
        model = MLPBaseline((1, 8, 8), num_classes=3, hidden_dim=16)
    forward = 2 * 128 * (64 * 16 + 16 * 3)
    backward = 2 * 128 * (64 * 16 + 2 * 16 * 3)  # the images need no gradient
    assert measure.step_flops(model, data.train) == forward + backward


def test_the_command_prints_the_table_and_one_json_object(monkeypatch, capsys):
    monkeypatch.setattr(measure.Effort, "quick", lambda: TINY)
    run_command.app(["bench", "--quick", "--json", "--dataset", "digits"], standalone_mode=False)
    out, err = capsys.readouterr()
    measured = json.loads(out)
    assert len(measured["rows"]) >= 6
    assert measured["auto"] in ("fp32", "bf16")
    assert f"--precision auto chooses {measured['auto']} here" in err
