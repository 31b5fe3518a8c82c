"""One training by tiebreak, as a run of a study does it."""

import torch
from work import BATCH_SIZE, read_settings, tell

from tiebreak.bench.loops import random_images
from tiebreak.training.loop import EpochResult
from tiebreak.training.placement.device import thread_count
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.run import RunResult, RunSpec, train_run


def main() -> None:
    settings = read_settings()
    validation = 500
    data = random_images(settings.images + validation)
    recipe = Recipe(epochs=settings.epochs, batch_size=BATCH_SIZE)
    spec = RunSpec(model=settings.model, recipe=recipe, seed=0, val_size=validation)
    precision = "bf16" if "bf16" in settings.variant else "fp32"
    seconds = []
    with thread_count(settings.threads):
        for event in train_run(spec, data, torch.device("cpu"), precision=precision):
            if isinstance(event, EpochResult):
                seconds.append(event.train_seconds)
            elif isinstance(event, RunResult):
                tell(event.cost.params, seconds)


if __name__ == "__main__":
    main()
