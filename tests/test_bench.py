"""The benchmark measures the same work in every variant, and tells what it measured."""

import json

import pytest
import torch

from tiebreak import bench, cli
from tiebreak.data.dataset import make_dataset
from tiebreak.models.mlp import MLPBaseline
from tiebreak.rng import global_stream

TINY = bench.Effort(rounds=2, seconds=0.0)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return make_dataset("tiny", images, torch.arange(300) % 3, images[:9], torch.arange(9) % 3, tuple("abc"))


def test_one_image_at_a_time_gives_the_pixels_of_a_batch(data):
    one_by_one = bench.OneByOne(data.train)
    images, labels = next(iter(data.train.batches(20)))
    for index in range(20):
        image, label = one_by_one[index]
        torch.testing.assert_close(image, images[index], rtol=1e-5, atol=1e-6)
        assert label == labels[index]


def test_every_variant_is_measured_for_every_model(data):
    measured = bench.run_bench(data, effort=TINY)
    variants = ("case study's loop", "in-memory tensors", "tiebreak fp32", "tiebreak bf16")
    assert [(row.model, row.variant) for row in measured.rows] == [
        (model, variant) for model in ("mlp", "cnn") for variant in variants
    ]
    for row in measured.rows:
        assert 0 < row.ratio_low <= row.ratio <= row.ratio_high
        assert row.images_per_second > 0
        assert row.peak_share > 0
    assert [row.ratio for row in measured.rows if row.variant == variants[0]] == [1.0, 1.0]
    assert set(measured.peak_gflops) == {"fp32", "bf16"}
    assert len(bench.bench_table(measured).rows) == 8


def test_floating_point_operations_of_a_step_are_those_counted_by_hand(data):
    with global_stream(0, "test"):
        model = MLPBaseline((1, 8, 8), num_classes=3, hidden_dim=16)
    forward = 2 * 128 * (64 * 16 + 16 * 3)
    backward = 2 * 128 * (64 * 16 + 2 * 16 * 3)  # the images need no gradient
    assert bench.step_flops(model, data.train) == forward + backward


def test_the_command_prints_the_table_and_one_json_object(monkeypatch, capsys):
    monkeypatch.setattr(bench.Effort, "quick", lambda: TINY)
    cli.app(["bench", "--quick", "--json", "--dataset", "digits"], standalone_mode=False)
    out, err = capsys.readouterr()
    measured = json.loads(out)
    assert len(measured["rows"]) == 8
    assert measured["auto"] in ("fp32", "bf16")
    assert f"--precision auto chooses {measured['auto']} here" in err
