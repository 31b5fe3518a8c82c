"""Runs of seconds, and models that misbehave in them."""

from collections import defaultdict
from pathlib import Path

from tiebreak.data.dataset import ImageDataset
from tiebreak.study.plan import Execution
from tiebreak.study.where.execute import execute
from tiebreak.study.where.task import News, RunFinished, RunId, Task
from tiebreak.training.recipe.recipe import Recipe
from tiebreak.training.spec import RunSpec

SERIAL = Execution(device="cpu", executor="serial")


TWO_WORKERS = Execution(device="cpu", executor="processes", workers=2)


USER_MODELS = """
import os, pathlib, signal, warnings
import torch
from torch import nn

class Talking(nn.Linear):
    def forward(self, images):
        print("not a message for the driver", flush=True)
        return super().forward(images.flatten(1))

def talking(image_shape, num_classes):
    return Talking(64, num_classes)

class Deadly(nn.Linear):
    def forward(self, images):
        if self.training and (self.marker is None or not self.marker.exists()):
            if self.marker is not None:
                self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images.flatten(1))

def deadly(image_shape, num_classes, marker=None):
    model = Deadly(64, num_classes)
    model.marker = marker and pathlib.Path(marker)
    return model

class Broken(nn.Linear):
    def forward(self, images):
        assert not self.training, "no training today"
        return super().forward(images.flatten(1))

def broken(image_shape, num_classes):
    return Broken(64, num_classes)

class Unpicklable(nn.Linear):
    def forward(self, images):
        class Odd(BaseException):  # cannot be pickled, as nobody can import it
            pass
        if self.training:
            raise Odd("no training today")
        return super().forward(images.flatten(1))

def unpicklable(image_shape, num_classes):
    return Unpicklable(64, num_classes)

def float8(image_shape, num_classes):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
    model.register_buffer("scale", torch.zeros(3).to(torch.float8_e4m3fn))
    return model

class Warning(nn.Linear):
    def forward(self, images):
        warnings.warn("this layer will go", FutureWarning)
        return super().forward(images.flatten(1))

def warning(image_shape, num_classes):
    return Warning(64, num_classes)

class Tied(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.encode = nn.Linear(64, 64)
        self.decode = nn.Linear(64, 64)
        self.decode.weight = self.encode.weight
        self.head = nn.Linear(64, num_classes)

    def forward(self, images):
        return self.head(self.decode(self.encode(images.flatten(1)).relu()))

def tied(image_shape, num_classes):
    return Tied(num_classes)
"""


def task(model: str, seed: int = 0, *, val_size: int = 100, lr: float = 1e-3, epochs: int = 1) -> Task:
    recipe = Recipe(epochs=epochs, lr=lr)
    spec = RunSpec(model=model, recipe=recipe, seed=seed, val_size=val_size)
    return Task(run=RunId(label=model, seed=seed, epochs=epochs), spec=spec)


def outcomes(tasks: list[Task], data: ImageDataset, execution: Execution) -> dict[RunId, list[News]]:
    """All news by run."""
    news_of = defaultdict(list)
    for run, news in execute(tasks, data, execution):
        news_of[run].append(news)
    return news_of


def content(news: News) -> dict[str, bytes]:
    """A result's weights and predictions, as bytes."""
    assert isinstance(news, RunFinished)
    weights = {name: tensor.numpy().tobytes() for name, tensor in news.result.weights.items()}
    return weights | {name: array.tobytes() for name, array in vars(news.result.predictions).items()}


def descendants(process: int) -> set[int]:
    """The process's children and theirs (Linux), zombies included."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    children = {int(child) for path in lists for child in path.read_text().split()}
    return children.union(*map(descendants, children))
