"""The numbers that golden files hold, computed in this process and printed as JSON.

Environment and arguments decide how they are computed, which PyTorch and the kernels read once, when they are
loaded: each variant is a process of its own (golden_files.py starts it).
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from tiebreak.actions.judge import as_json, judge
from tiebreak.data.catalog import load_dataset
from tiebreak.data.dataset import ImageDataset
from tiebreak.kernels.library import kernel_variant
from tiebreak.models.catalog import BUILTIN
from tiebreak.study.driver import run_study
from tiebreak.study.plan import Execution, make_study, parse_contender
from tiebreak.training import run
from tiebreak.training.placement.placement import Precision
from tiebreak.training.placement.precision import cpu_has_bf16
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import RunProgress, RunResult, train_run
from tiebreak.training.spec import RunSpec

CPU = torch.device("cpu")
STEPS = 20  # whose losses are kept; an epoch has 22
IMAGES = 10  # whose probabilities are kept in plain sight, beside the digest of all
TEST_IMAGES = 500
UNLIKE = {"train_seconds", "images_per_second", "study"}  # times and a path: they differ from start to start
SMALL = {  # of models that would take long
    "local": "width=6",
    "cnn-shuffled-taps": "width=6",
    "mixer": "width=16, depth=1",
    "vit": "width=16, depth=1",
}
STUDIED = ("mlp", "cnn", "linear", "local", "cnn-shuffled-taps")  # whose study's JSON is kept

# Every model with the default recipe, then what else a recipe can ask for.
RUNS: dict[str, dict[str, Any]] = {
    **{
        model: {"model": f"{model}({SMALL[model]})" if model in SMALL else model}
        for model in BUILTIN
        # Small batches, normalised at every layer, carry another processor's rounding past any tolerance.
        if model not in ("deep-mlp", "resnet", "airnet")
    },
    "cnn, sgd": {
        "model": "cnn(width=12, dropout=0.2)",
        "recipe": {"optimizer": "sgd", "lr": 0.02, "schedule": "cosine", "label_smoothing": 0.1, "crop": 2},
        "transforms": ("permute-patches(7)", "test:blur(1.0)"),
    },
    "mlp, adamw": {
        "model": 'mlp(dropout=0.3, match="cnn(width=8)", by="params")',
        "recipe": {"optimizer": "adamw", "lr": 3e-3, "weight_decay": 0.05, "flip": True},
        "transforms": ("permute-pixels", "noise(0.1)"),
    },
}


def golden_values(precisions: Iterable[Precision]) -> dict[str, Any]:
    """Losses, predictions and weights of each of RUNS in each precision, and what a small study says."""
    data = load_dataset("fashion-small")
    data = replace(
        data, test_images=data.test_images[:TEST_IMAGES], test_labels=data.test_labels[:TEST_IMAGES]
    )
    return {
        **{
            precision: {name: run_values(data, precision, **plan) for name, plan in RUNS.items()}
            for precision in precisions
        },
        "study": study_values(load_dataset("digits")),
    }


def run_values(
    data: ImageDataset, precision: Precision, model: str, recipe: dict[str, Any] | None = None, **plan: Any
) -> dict[str, Any]:
    settings = Recipe(epochs=1, batch_size=64, **recipe or {})
    spec = RunSpec(model=model, recipe=settings, seed=3, val_size=200, train_fraction=0.14, **plan)
    events = list(train_run(spec, data, CPU, precision=precision))
    sums = [event.loss * event.batch for event in events if isinstance(event, RunProgress)]
    result = events[-1]
    assert isinstance(result, RunResult)
    probs = result.predictions.test_probs
    return {
        "losses": [rounded(after - before, 9) for before, after in pairwise([0.0, *sums[:STEPS]])],
        **result.history,
        "test_loss": rounded(result.test_loss),
        "test_acc": result.test_acc,
        "probs": [[rounded(value, 7) for value in row] for row in probs[:IMAGES].tolist()],
        "probs_digest": digest([result.predictions.val_probs, probs]),
        "weights_digest": digest(result.weights[name].numpy() for name in sorted(result.weights)),
    }


def study_values(data: ImageDataset) -> dict[str, Any]:
    """The object of `--json` for all models, two seeds and one epoch, without UNLIKE."""
    contenders = tuple(parse_contender(model, Recipe(epochs=1)) for model in STUDIED)
    study = make_study(contenders=contenders, seeds=2)
    with tempfile.TemporaryDirectory() as folder:
        execution = Execution(device="cpu", precision="fp32", executor="serial")
        for _ in run_study(study, data, Path(folder), execution):
            pass
        return repeatable(as_json(judge(folder)))


def repeatable(value: Any) -> Any:
    """A JSON value without UNLIKE, its numbers to 10 digits."""
    if isinstance(value, dict):
        return {name: repeatable(part) for name, part in value.items() if name not in UNLIKE}
    if isinstance(value, list | tuple):
        return [repeatable(part) for part in value]
    return rounded(value) if isinstance(value, float) else value


def rounded(value: float, digits: int = 10) -> float:
    return float(f"{value:.{digits}g}")


def digest(arrays: Iterable[np.ndarray]) -> str:
    joined = hashlib.sha256()
    for array in arrays:
        joined.update(np.ascontiguousarray(array).tobytes())
    return joined.hexdigest()[:16]


def arithmetic() -> str:
    """A digest of what PyTorch and NumPy make of some fixed numbers, in the operations that the models need.

    Two processors that agree in it order and round their sums alike, and should give the same golden values.
    It uses nothing of tiebreak: a change there must not make this look like another processor.
    """
    random = np.random.default_rng(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.from_numpy(random.standard_normal(shape, np.float32)).requires_grad_()

    images, filters, rows, matrix = draw(64, 32, 14, 14), draw(64, 32, 3, 3), draw(64, 784), draw(512, 784)
    made, switch = [], torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    for dtype in (torch.float32, torch.bfloat16):
        for layout in (torch.contiguous_format, torch.channels_last):
            features = F.conv2d(images.to(dtype, memory_format=layout), filters.to(dtype), padding=1)
            made += [features, *torch.autograd.grad(features.square().sum(), (images, filters))]
        for switch.fp32_precision in (before, "bf16"):  # the second: products by oneDNN
            hidden = F.linear(rows.to(dtype), matrix.to(dtype))
            losses = -hidden.log_softmax(dim=1).mean(dim=1)
            made += [losses, *torch.autograd.grad(losses.sum(), (rows, matrix))]
    switch.fp32_precision = before
    patches, weights, bias = draw(49, 64, 288), draw(49, 288, 64), draw(49, 1, 64)  # as `local` has them
    outputs = torch.baddbmm(bias, patches, weights)
    made += [outputs, *torch.autograd.grad(outputs.square().sum(), (patches, weights))]
    positive = np.abs(rows.detach().numpy()) + 1
    functions = [np.log(positive), np.exp(positive.astype(np.float64)).sum(axis=1)]
    return digest([*(each.detach().float().numpy() for each in made), *functions])[:8]


def main() -> None:
    """Print what the values depend on, and the values."""
    run.SECONDS_BETWEEN_REPORTS = 0.0  # after every step
    torch.set_num_threads(1)
    has_bf16 = torch.backends.cpu.get_cpu_capability() == "AVX512" and cpu_has_bf16()
    key = {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16": has_bf16,
        "kernels": kernel_variant() or "off",
        "torch": torch.__version__,
        "arithmetic": arithmetic(),
    }
    values = golden_values(["fp32", "bf16"] if has_bf16 else ["fp32"])
    print(json.dumps({"key": key, "values": values}))


if __name__ == "__main__":
    main()
