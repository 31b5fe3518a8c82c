"""The page of a study, from its folder alone: what it needs is read here and handed over as plain values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tiebreak.actions.judge import Verdicts, findings, stored_of
from tiebreak.actions.live_models import MAX_CHARACTERS, pack_models, read_weights
from tiebreak.report.page.data import Again, Material
from tiebreak.report.page.html import inside_entry, write_page
from tiebreak.report.page.live import KnownImages, LiveModel, first_layer_images
from tiebreak.report.page.sheet import Sheet, cut_grid, read_sheet
from tiebreak.report.text.tables import Table
from tiebreak.study.inside import read_anatomies, read_layers
from tiebreak.study.record import DataFacts
from tiebreak.study.store import StoredStudy
from tiebreak.study.study_text import study_as_toml

EXAMPLES = 32  # test images by which models in the page are checked


def write_study_page(verdicts: Verdicts) -> Path:
    """Write report.html into the study folder; gives its path.

    Raises: StudyError if a file of the folder is missing or damaged.
    """
    write_page(verdicts.page, findings(verdicts), _material(stored_of(verdicts)))
    return verdicts.page


def _material(stored: StoredStudy) -> Material:
    data = stored.header.data
    sheet, picture = read_sheet(stored.folder, data.test_images, len(data.class_names)) or (None, b"")
    chains = read_layers(stored.folder)
    live: list[LiveModel] = []
    if sheet and sheet.exact:
        examples = known_images(sheet, picture, data)
        live = pack_models(stored, chains, examples, MAX_CHARACTERS - len(picture) * 4 // 3)
    return Material(
        facts=tuple(_facts(stored)),
        image_shape=data.image_shape,
        mean=data.mean,
        std=data.std,
        sheet=sheet,
        picture=picture,
        inside=tuple(_inside(stored, chains)),
        live=tuple(live),
        again=_again(stored),
    )


def known_images(sheet: Sheet, picture: bytes, data: DataFacts) -> KnownImages:
    """The first images of an exact sheet as a model takes them."""
    mean, std = (np.array(values, dtype=np.float32).reshape(-1, 1, 1) for values in (data.mean, data.std))
    pixels = cut_grid(picture, sheet, data.image_shape[0], EXAMPLES)
    return KnownImages(
        indices=[image.index for image in sheet.images[:EXAMPLES]],
        images=(pixels.astype(np.float32) / np.float32(255) - mean) / std,
    )


def _facts(stored: StoredStudy) -> Iterator[tuple[str, str]]:
    data, environment = stored.header.data, stored.header.environment
    yield (
        "Data",
        f"{data.name}: {data.train_images - data.val_images:,} training, {data.val_images:,} validation, "
        f"{data.test_images:,} test images of {' × '.join(map(str, data.image_shape))} "  # noqa: RUF001
        f"in {len(data.class_names)} classes",
    )
    yield from _recipes(stored)
    yield "Seeds", ", ".join(map(str, stored.study.seeds))
    yield "Date", stored.header.created[:10]
    yield "Machine", f"{environment.processor}, {environment.cores} cores; {environment.system}"


def _recipes(stored: StoredStudy) -> list[tuple[str, str]]:
    """Each different recipe in words, with the contenders that were trained by it."""
    by_text: dict[str, list[str]] = {}
    for contender in stored.study.contenders:
        settings = contender.recipe.model_dump(exclude_none=True)
        if settings.get("optimizer") != "sgd":
            settings.pop("momentum", None)
        text = ", ".join(
            key.replace("_", " ") if value is True else f"{key.replace('_', ' ')} {value}"
            for key, value in settings.items()
            if value not in (False, 0)
        )
        by_text.setdefault(text, []).append(contender.label)
    if len(by_text) == 1:
        return [("Recipe", next(iter(by_text)))]
    return [(f"Recipe of {', '.join(labels)}", text) for text, labels in by_text.items()]


def _inside(stored: StoredStudy, chains: dict[str, Any]) -> Iterator[dict[str, Any]]:
    anatomies = read_anatomies(stored.folder)
    for contender in stored.study.contenders:
        label, seed = contender.label, next(iter(stored.finished(contender.label)), None)
        if seed is None:
            continue
        first = None
        if label in chains:
            weights = read_weights(stored, label, seed)
            first = first_layer_images(weights, chains[label], stored.header.data.image_shape)
        anatomy, left_out = anatomies.contenders.get(label), anatomies.left_out.get(label)
        yield inside_entry(label, anatomy, left_out, first, seed)


def _again(stored: StoredStudy) -> Again:
    environment = stored.header.environment
    return Again(
        toml=study_as_toml(stored.study),
        facts=(
            (
                "Versions",
                f"tiebreak {environment.tiebreak}, Python {environment.python}, PyTorch {environment.torch}, "
                f"NumPy {environment.numpy}",
            ),
            ("Images", f"SHA-256 {stored.header.data.fingerprint}"),
            ("Plan", f"SHA-256 {stored.study.identity}"),
        ),
        timings=_timings(stored),
    )


def _timings(stored: StoredStudy) -> Table:
    rows = tuple(
        (
            label,
            str(seed),
            f"{run.timing.train_seconds:.1f}",
            f"{run.timing.evaluate_seconds:.1f}",
            f"{run.timing.images_per_second:,.0f}",
            run.device or "",
            str(run.threads or ""),
        )
        for label, runs in stored.runs.items()
        for seed, run in runs.items()
        if run.timing
    )
    columns = ("contender", "seed", "train s", "evaluate s", "images/s", "device", "threads")
    return Table(columns=columns, rows=rows, text_columns=("device",))
