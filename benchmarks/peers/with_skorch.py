"""One training by skorch."""

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import EpochScoring
from torch_models import count_parameters, make_model, start
from work import BATCH_SIZE, random_images, read_settings, tell


def main() -> None:
    settings = read_settings()
    start(settings.threads)
    images, labels = random_images(settings.images)
    net = NeuralNetClassifier(
        make_model(settings.model),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=BATCH_SIZE,
        max_epochs=settings.epochs,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=[("accuracy", EpochScoring("accuracy", on_train=True, lower_is_better=False))],
        verbose=0,
    )
    net.fit(images, labels)
    tell(count_parameters(net.module_), net.history[:, "dur"])


if __name__ == "__main__":
    main()
