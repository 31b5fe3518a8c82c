"""Models of users' own, each with a trait that has cost somebody a study."""

ODD = '''
import random
import numpy as np
import torch
from collections import namedtuple
from torch import nn
from torch.nn import functional as F

Out = namedtuple("Out", "logits aux")

class Net(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        channels, height, width = image_shape
        self.f = nn.Linear(channels * height * width, num_classes)

    def forward(self, x):
        return self.f(x.flatten(1))

class Normed(nn.Sequential):
    def __init__(self, image_shape, num_classes, track=True):
        inputs = image_shape[0] * image_shape[1] * image_shape[2]
        norm = nn.BatchNorm1d(16, track_running_stats=track)
        super().__init__(nn.Flatten(), nn.Linear(inputs, 16), norm, nn.ReLU(), nn.Linear(16, num_classes))

class Squeezed(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.c, self.p = nn.Conv2d(image_shape[0], 8, 3), nn.AdaptiveAvgPool2d(1)
        self.f = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.f(self.p(torch.relu(self.c(x))).squeeze())

class Auxiliary(Net):
    def forward(self, x):
        logits = super().forward(x)
        return Out(logits, logits) if self.training else logits

class Sure(Net):
    def forward(self, x):
        return super().forward(x).softmax(1)

class Together(Net):
    def forward(self, x):
        return super().forward(x).log_softmax(0)

class Dropping(Net):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.5)

class Frozen(Net):
    def __init__(self, image_shape, num_classes):
        super().__init__(image_shape, num_classes)
        self.requires_grad_(False)

class Nothing(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3]

class Infinite(Net):
    def forward(self, x):
        logits = super().forward(x)
        return logits * float("inf") if self.training else logits

class Tied(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        inputs = image_shape[0] * image_shape[1] * image_shape[2]
        self.e, self.a, self.b = nn.Linear(inputs, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.b.weight = self.a.weight
        self.f = nn.Linear(8, num_classes)
        both = torch.zeros(4)
        self.register_buffer("both", both)
        self.register_buffer("part", both[:2])

    def forward(self, x):
        hidden = torch.relu(self.e(x.flatten(1)))
        return self.f(self.b(torch.relu(self.a(hidden)))) + self.part.sum()

class Position(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(size))

    def forward(self):
        return self.table

class Placed(Net):
    """A layer that is called without an input."""

    def __init__(self, image_shape, num_classes):
        super().__init__(image_shape, num_classes)
        self.pos = Position(self.f.in_features)

    def forward(self, x):
        return self.f(x.flatten(1) + self.pos())

class Drawing(Net):
    """Draws from all generators that libraries keep, when it is made and while it trains."""

    def __init__(self, image_shape, num_classes):
        super().__init__(image_shape, num_classes)
        self.register_buffer("drawn", torch.tensor([random.random(), np.random.rand(), np.random.randn()]))
        self.register_buffer("last", torch.zeros(3))

    def forward(self, x):
        if self.training:
            self.last = torch.tensor([random.gauss(0, 1), np.random.randn(), float(torch.rand(()))])
        return super().forward(x) * (1 + 0.01 * self.last.sum())

class Unseeded(Net):
    def __init__(self, image_shape, num_classes):
        super().__init__(image_shape, num_classes)
        self.register_buffer("drawn", torch.from_numpy(np.random.default_rng().normal(size=2)))

class Extra(Net):
    def get_extra_state(self):
        return {"a": 1}

    def set_extra_state(self, state):
        pass

class Float8(Net):
    def __init__(self, image_shape, num_classes):
        super().__init__(image_shape, num_classes)
        self.register_buffer("small", torch.zeros(3).to(torch.float8_e4m3fn))

class Sparse(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.e = nn.Embedding(4, num_classes, sparse=True)

    def forward(self, x):
        return self.e((x.flatten(1).mean(1) > 0).long())

class Recurrent(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.r, self.f = nn.LSTM(image_shape[2], 8, batch_first=True), nn.LazyLinear(num_classes)

    def forward(self, x):
        return self.f(self.r(x[:, 0])[0][:, -1])

class Tired(Net):
    """Takes the trial's steps, and no more."""

    def __init__(self, image_shape, num_classes, steps):
        super().__init__(image_shape, num_classes)
        self.steps = steps

    def forward(self, x):
        if self.training:
            self.steps -= 1
            if self.steps < 0:
                raise RuntimeError("too tired")
        return super().forward(x)
'''
