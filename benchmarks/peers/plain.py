"""One training by the case study's loop: one image at a time, as `tiebreak bench` writes it out."""

import itertools
import time

from torch_models import count_parameters, make_model, start
from work import BATCH_SIZE, read_settings, tell

from tiebreak.bench.loops import case_study_steps, random_images


def main() -> None:
    settings = read_settings()
    start(settings.threads)
    model = make_model(settings.model)
    steps = case_study_steps(model, random_images(settings.images).train)
    per_epoch = settings.images // BATCH_SIZE
    seconds = []
    for _ in range(settings.epochs):
        started = time.perf_counter()
        for _ in itertools.islice(steps, per_epoch):
            pass
        seconds.append((time.perf_counter() - started) * settings.images / (per_epoch * BATCH_SIZE))
    tell(count_parameters(model), seconds)


if __name__ == "__main__":
    main()
