"""One training by Keras on JAX."""

import time

import keras
import numpy as np
from keras import layers
from work import BATCH_SIZE, random_images, read_settings, tell


class Clock(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.seconds.append(time.perf_counter() - self.started)


def make_model(name: str) -> keras.Model:
    if name == "mlp":
        hidden = [layers.Flatten(), layers.Dense(512, activation="relu")]
    else:
        hidden = [
            *(layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPooling2D(2)),
            *(layers.Conv2D(64, 3, padding="same", activation="relu"), layers.MaxPooling2D(2)),
            layers.Flatten(),
        ]
    return keras.Sequential([keras.Input((32, 32, 3)), *hidden, layers.Dense(10)])


def main() -> None:
    settings = read_settings()
    keras.utils.set_random_seed(0)
    images, labels = random_images(settings.images)
    model, clock = make_model(settings.model), Clock()
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    model.fit(
        channels_last,
        labels,
        batch_size=BATCH_SIZE,
        epochs=settings.epochs,
        shuffle=True,
        callbacks=[clock],
        verbose=0,
    )
    tell(model.count_params(), clock.seconds)


if __name__ == "__main__":
    main()
