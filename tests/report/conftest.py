"""Two small studies, made once, and a browser that opens their pages."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from opened_page import Opened
from synthetic_study import write_study
from tiebreak.actions.judge import Verdicts, findings, judge
from tiebreak.actions.keep import keep_for_the_page
from tiebreak.actions.page import write_study_page
from tiebreak.actions.run import run
from tiebreak.data.catalog import load_dataset
from tiebreak.data.dataset import ImageDataset, make_dataset
from tiebreak.report.text.findings import Findings
from tiebreak.study.driver import run_study
from tiebreak.study.plan import Contender, DataChoice, Execution, make_study
from tiebreak.training.recipe.recipe import Recipe

HOSTILE_CLASS = "</script><img src=x onerror=alert(1)>"
HOSTILE_LABEL = '<b>cnn</b> & "co"'
# The page computes in single precision; predictions stored by bf16 runs differ in the third decimal.
PLAIN = Execution(precision="fp32", executor="serial")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

MODELS = '''
from torch import nn
from torch.nn import functional as F
import torch

def normed(image_shape, num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, stride=2, padding=1, bias=False), nn.BatchNorm2d(6),
        nn.ReLU(), nn.AvgPool2d(3, stride=2),
        nn.Flatten(), nn.Linear(54, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, num_classes),
    )

class Local(nn.Module):
    """Untied 3x3 filters, written the slow way."""

    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.local = nn.Module()
        self.local.weight = nn.Parameter(torch.randn(256, 27, 4) / 5)
        self.local.bias = nn.Parameter(torch.randn(256, 1, 4) / 5)
        self.fc = nn.Linear(4 * 64, num_classes)

    def forward(self, x):
        patches = F.unfold(x, 3, padding=1).unflatten(1, (3, 9)).transpose(1, 2).flatten(1, 2)  # B x 27 x P
        y = torch.einsum("bip,pio->bop", patches, self.local.weight) + self.local.bias[:, 0].T
        return self.fc(F.max_pool2d(F.relu(y.unflatten(2, (16, 16))), 2).flatten(1))

    def chain(self):
        return {"layers": [
            {"kind": "local", "name": "local"}, {"kind": "relu", "name": ""},
            {"kind": "maxpool", "name": "", "kernel": (2, 2), "stride": (2, 2)},
            {"kind": "flatten", "name": ""}, {"kind": "linear", "name": "fc"},
        ]}

class Skip(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(768, num_classes)

    def forward(self, x):
        return self.head((x + self.body(x)).flatten(1))
'''


@pytest.fixture(scope="session")
def _fresh_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIEBREAK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def clothes(_fresh_cache: None) -> ImageDataset:
    """Real images; one class has a name that attacks the page."""
    whole = load_dataset("fashion-small")
    return make_dataset(
        "clothes",
        whole.train_images[:900],
        whole.train_labels[:900],
        whole.test_images[:500],
        whole.test_labels[:500],
        (HOSTILE_CLASS, *whole.class_names[1:]),
        verified=False,
        notes=("A note with <i>markup</i>.",),
    )


@pytest.fixture(scope="session")
def study(clothes: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """Two contenders, two seeds; a label is hostile, too."""
    recipe = Recipe(epochs=2, batch_size=50)
    plan = make_study(
        contenders=(
            Contender(label="mlp", model="mlp(hidden_dim=32)", recipe=recipe),
            Contender(label=HOSTILE_LABEL, model="cnn(width=4)", recipe=recipe),
        ),
        seeds=2,
        data=DataChoice(name="clothes"),
    )
    return run(plan, PLAIN, tmp_path_factory.mktemp("studies") / "clothes", clothes)


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory, _fresh_cache: None) -> Verdicts:
    """One contender of every kind of layer, on coloured images; the code of three is gone afterwards."""
    code = tmp_path_factory.mktemp("code") / "models.py"
    code.write_text(MODELS)
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(700) % 3
    images = torch.randint(0, 156, (700, 3, 16, 16), generator=draws, dtype=torch.uint8)
    images[torch.arange(700), labels, 4:9] += 100  # each class is bright in its own channel
    data = make_dataset("colours", images[:400], labels[:400], images[400:], labels[400:], ("r", "g", "b"))
    models = {
        "linear": "linear",
        "mlp": "mlp(hidden_dim=24, dropout=0.2)",
        "cnn": "cnn(width=4)",
        "normed": f"{code}:normed",
        "local": f"{code}:Local",
        "untied": "local(width=2)",
        "skip": f"{code}:Skip",
        "permuted": "linear",
    }
    recipe = Recipe(epochs=2, batch_size=50)
    plan = make_study(
        contenders=tuple(
            Contender(
                label=label,
                model=model,
                recipe=recipe,
                transforms=("permute-pixels",) if label == "permuted" else (),
            )
            for label, model in models.items()
        ),
        seeds=2,
        data=DataChoice(name="colours"),
    )
    folder = tmp_path_factory.mktemp("studies") / "kinds"
    for _ in run_study(plan, data, folder, PLAIN):
        pass
    results = judge(folder)
    keep_for_the_page(results, data)
    write_study_page(results)
    code.unlink()
    return results


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """Twelve contenders with made-up predictions, one of whose runs failed."""
    labels = ["mlp", "cnn", *(f"wide-residual-network(width=64,depth=12,variant={v})" for v in "ABCDEFGHIJ")]
    plan = make_study(contenders=tuple(Contender(label=label, model="mlp") for label in labels), seeds=3)
    draws = np.random.default_rng(0)
    hard = draws.random(600)
    correct = {
        label: hard[None] + 0.3 * draws.random((3, 600)) < 0.95 - 0.03 * ((place + 3) % len(labels))
        for place, label in enumerate(labels)
    }
    folder = tmp_path_factory.mktemp("studies") / "many"
    return judge(write_study(folder, plan, correct, failed=[("mlp", 2)]))


@pytest.fixture(scope="session")
def many(crowd: Verdicts) -> Findings:
    return findings(crowd)


@pytest.fixture
def write_again() -> Callable[[Path], str]:
    """Makes the page of a study folder from its files; without the figures, which take longer."""

    def write(folder: Path) -> str:
        return write_study_page(judge(folder)).read_text(encoding="utf-8")

    return write


@pytest.fixture
def copied(study: Verdicts, tmp_path: Path) -> Path:
    """The study's folder elsewhere, to be damaged."""
    return Path(shutil.copytree(study.folder, tmp_path / "copy"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium; on Debian: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Opens a file with options of its own."""
    opened: list[Opened] = []

    def open_file(file: Path, **context: Any) -> Opened:
        opened.append(Opened(browser, file, **context))
        return opened[-1]

    yield open_file
    for each in opened:
        each.context.close()


@pytest.fixture(scope="session")
def look(browser: Any, study: Verdicts) -> Iterator[Opened]:
    """The study's page on a wide screen."""
    opened = Opened(browser, study.page, viewport={"width": 1440, "height": 900})
    yield opened
    opened.context.close()


@pytest.fixture(scope="session")
def look_kinds(browser: Any, kinds: Verdicts) -> Iterator[Opened]:
    opened = Opened(browser, kinds.page, viewport={"width": 1440, "height": 900})
    yield opened
    opened.context.close()
