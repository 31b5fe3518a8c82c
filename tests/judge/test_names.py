"""Contender and seed from the names of files."""

from pathlib import Path

import pytest

from tiebreak.errors import EvidenceError
from tiebreak.results.names import read_names


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (
            ["resnet50_seed0.csv", "resnet50_seed1.csv", "vit_seed0.csv"],
            [("resnet50", 0), ("resnet50", 1), ("vit", 0)],
        ),
        (["resnet-18-s3.npy", "vit-b-16-s3.npy"], [("resnet-18", 3), ("vit-b-16", 3)]),
        (["a/seed-0/predictions.csv", "b/seed-12/predictions.csv"], [("a", 0), ("b", 12)]),
        (["runs/a/run_1/test_preds.npz", "runs/b/run_2/test_preds.npz"], [("a", 1), ("b", 2)]),
        (["resnet18.csv", "resnet50.csv"], [("resnet18", None), ("resnet50", None)]),  # no seeds 18 and 50
        (["seed=4/mlp.csv", "seed=5/cnn.csv"], [("mlp", 4), ("cnn", 5)]),
        (
            [
                "erm/camelyon17_split:test_seed:3_epoch:best_pred.csv",
                "irm/camelyon17_split:test_seed:3_epoch:best_pred.csv",
            ],
            [("erm", 3), ("irm", 3)],
        ),
        (
            [
                "org__small/samples_arc_easy_2026-05-01T10-00-00.123456.jsonl",
                "org__large/samples_arc_easy_2026-05-01T10-01-00.123456.jsonl",
            ],
            [("org__small", None), ("org__large", None)],
        ),
        (["predictions/mlp.csv", "predictions/cnn.csv"], [("mlp", None), ("cnn", None)]),
        (["mlp_fold2_seed1.csv", "cnn_fold2_seed1.csv"], [("mlp", 1), ("cnn", 1)]),
    ],
)
def test_habits(paths, expected):
    assert [(name.model, name.seed) for name in read_names([Path(path) for path in paths])] == expected


def test_a_pattern_overrules_the_habits():
    paths = [Path("out/cifar10/resnet18_1.csv"), Path("out/cifar100/resnet18_2.csv")]
    found = read_names(paths, "{dataset}/{model}_{seed}.csv")
    assert [(n.dataset, n.model, n.seed) for n in found] == [
        ("cifar10", "resnet18", 1),
        ("cifar100", "resnet18", 2),
    ]
    (starred,) = read_names([Path("x/a_whatever_7.npz")], "{model}_*_{seed}.npz")
    assert (starred.model, starred.seed) == ("a", 7)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{modle}.csv", "must name {model}"),
        ("{model}{model}.csv", "each once"),
        ("{model}-{seed}.csv", "does not fit"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern, message):
    with pytest.raises(EvidenceError, match="--pattern") as caught:
        read_names([Path("a.csv")], pattern)
    assert message in str(caught.value)
