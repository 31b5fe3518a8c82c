"""One training by Lightning."""

import time

import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset
from torch_models import count_parameters, make_model, start
from work import BATCH_SIZE, random_images, read_settings, tell


class Classifier(L.LightningModule):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.model = make_model(name)

    def training_step(self, batch, _index):
        images, labels = batch
        logits = self.model(images)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        self.log_dict({"loss": loss, "accuracy": accuracy}, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Clock(L.Callback):
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer, module) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer, module) -> None:
        self.seconds.append(time.perf_counter() - self.started)


def main() -> None:
    settings = read_settings()
    start(settings.threads)
    images, labels = random_images(settings.images)
    data = TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))
    classifier, clock = Classifier(settings.model), Clock()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=settings.epochs,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(classifier, DataLoader(data, BATCH_SIZE, shuffle=True))
    tell(count_parameters(classifier.model), clock.seconds)


if __name__ == "__main__":
    main()
