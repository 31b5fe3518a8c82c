"""Train image classifiers side by side and say which one is better: by how much, how sure, and why.

import tiebreak as tb
results = tb.compare(["mlp", "cnn"], "fashion-small", seeds=5, epochs=10)
print(results)
"""

import importlib
from typing import Any

_PUBLIC = {
    "compare": "tiebreak.actions.compare",
    "check": "tiebreak.actions.check",
    "explain": "tiebreak.actions.explain",
    "judge": "tiebreak.actions.judge_files",
    "pareto": "tiebreak.actions.pareto",
    "plan": "tiebreak.actions.plan",
    "write_report": "tiebreak.actions.report",
    "run": "tiebreak.actions.run",
    "Verdicts": "tiebreak.actions.judge",
    "load_dataset": "tiebreak.data.catalog",
    "make_dataset": "tiebreak.data.dataset",
    "ImageDataset": "tiebreak.data.dataset",
    "build_model": "tiebreak.models.catalog",
    "MLPBaseline": "tiebreak.models.mlp",
    "SimpleCNN": "tiebreak.models.cnn",
    "LinearClassifier": "tiebreak.models.linear",
    "model_cost": "tiebreak.models.cost",
    "Recipe": "tiebreak.training.recipe.recipe",
    "choose_device": "tiebreak.training.placement.device",
    "examine_step": "tiebreak.training.anatomy",
    "evaluate": "tiebreak.training.loop",
    "fit": "tiebreak.training.loop",
    "predict": "tiebreak.training.loop",
    "train_one_epoch": "tiebreak.training.loop",
    "plot_differences": "tiebreak.report.figures.differences",
    "plot_power": "tiebreak.report.figures.differences",
    "plot_comparison": "tiebreak.report.figures.curves",
    "plot_confusion": "tiebreak.report.figures.classes",
    "plot_history": "tiebreak.report.figures.curves",
    "plot_per_class": "tiebreak.report.figures.classes",
    "set_seed": "tiebreak.rng",
    "stream": "tiebreak.rng",
    "TiebreakError": "tiebreak.errors",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `tiebreak --help` need not wait for PyTorch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tiebreak' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
