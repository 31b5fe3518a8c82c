"""One training by ictonyx; it has no hook at the end of an epoch, so that its mean over several is told."""

import time

import torch
from ictonyx.core import PyTorchModelWrapper
from torch_models import count_parameters, make_model, start
from work import BATCH_SIZE, random_images, read_settings, tell


def main() -> None:
    settings = read_settings()
    start(settings.threads)
    data = random_images(settings.images)
    model = make_model(settings.model)
    wrapper = PyTorchModelWrapper(
        model,
        criterion=torch.nn.CrossEntropyLoss(),
        optimizer_class=torch.optim.Adam,
        optimizer_params={"lr": 1e-3},
        device="cpu",
    )
    means = []
    for epochs in (1, settings.epochs - 1):
        started = time.perf_counter()
        wrapper.fit(data, epochs=epochs, batch_size=BATCH_SIZE, verbose=0)
        means += [(time.perf_counter() - started) / epochs] * epochs
    tell(count_parameters(model), means)


if __name__ == "__main__":
    main()
