"""report.html: one file that holds everything, asks the network for nothing, and can be sent to others."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tiebreak.evidence.compare.judgement import Judgement
from tiebreak.evidence.describe.quality import ContenderSummary
from tiebreak.files import atomic_write
from tiebreak.report.page.data import as_data_uri, chart_data, look_at
from tiebreak.report.page.live import (
    MAX_CHARACTERS,
    KnownImages,
    LiveModel,
    compress,
    first_layer_images,
    pack_models,
    read_weights,
)
from tiebreak.report.page.sheet import Sheet, as_png, cut_grid, draw_grid, read_sheet
from tiebreak.report.palette import contender_colours
from tiebreak.report.text.explained import read_explanation
from tiebreak.report.text.study_text import study_as_toml
from tiebreak.report.text.tables import (
    gradient_table,
    layer_table,
    percent,
    plus_minus,
    short,
    summary_table,
    update_table,
)
from tiebreak.results.results import Results
from tiebreak.study.inside import read_anatomies, read_layers
from tiebreak.study.record import DataFacts
from tiebreak.study.store import StoredStudy

PAGE_FILE = "report.html"
SCRIPTS = ("forward.js", "charts.js", "page.js", "live.js")
FILTER_COLUMNS = 16
EXAMPLES = 32  # test images by which models in the page are checked


def write_page(
    stored: StoredStudy,
    results: Results,
    summaries: Sequence[ContenderSummary],
    judgements: Sequence[Judgement],
) -> Path:
    """Write report.html into the study folder, from that folder alone; gives its path.

    Raises: StudyError if a file of the folder is missing or damaged.
    """
    look = look_at(results)
    sheet_file = read_sheet(stored.folder, stored.header.data)
    sheet, picture = sheet_file or (None, b"")
    chains = read_layers(stored.folder)
    live: list[LiveModel] = []
    if sheet and sheet.exact:
        shown = examples(sheet, picture, stored.header.data)
        live = pack_models(stored, chains, shown, MAX_CHARACTERS - len(picture) * 4 // 3)
    explanation = read_explanation(stored.folder)
    charts = chart_data(stored, summaries, judgements, look, sheet, live)
    charts["explanation"] = explanation
    scripts = [_static(name) for name in SCRIPTS]
    plotly = _plotly()
    content = (
        _environment()
        .get_template("page.html")
        .render(
            stored=stored,
            data=stored.header.data,
            study=stored.study,
            environment=stored.header.environment,
            notes=results.notes,
            summaries=summaries,
            judgements=judgements,
            look=look,
            colours=contender_colours([summary.label for summary in summaries]),
            table=summary_table(summaries),
            sort_keys=_sort_keys(summaries),
            recipes=_recipes(stored),
            sheet=sheet,
            sheet_uri=as_data_uri(picture) if sheet else "",
            inside=_inside(stored, chains),
            explanation=explanation,
            live=live,
            live_seeds=sorted({seed for model in live for seed in model.seeds}),
            toml=study_as_toml(stored.study),
            policy=content_security_policy([*scripts, plotly]),
            style=_trusted(_static("page.css")),
            scripts=[_trusted(script) for script in scripts],
            charts=as_script_json(charts),
            blobs=_blobs(live, plotly),
        )
    )
    path = stored.folder / PAGE_FILE
    with atomic_write(path) as file:
        file.write(content.encode("utf-8"))
    return path


def examples(sheet: Sheet, picture: bytes, data: DataFacts) -> KnownImages:
    """The first images of an exact sheet as a model takes them."""
    channels = data.image_shape[0]
    mean, std = (np.array(values, dtype=np.float32).reshape(-1, 1, 1) for values in (data.mean, data.std))
    pixels = cut_grid(picture, sheet, channels, EXAMPLES)
    return KnownImages(
        indices=[image.index for image in sheet.images[:EXAMPLES]],
        images=(pixels.astype(np.float32) / np.float32(255) - mean) / std,
    )


def content_security_policy(scripts: Sequence[str]) -> str:
    """A policy under which nothing but these very scripts runs, and nothing is fetched from anywhere.

    Styles may be inline because Plotly sets them so; as no address is allowed, a style can fetch nothing.
    """
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def as_script_json(value: Any) -> Markup:
    """JSON that may stand inside <script>: nothing in it can end the element or a line of the script."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII only, U+2028 included
    return _trusted(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _trusted(text: str) -> Markup:
    """Text that goes into the page unescaped: a file of this package, or JSON that cannot end its script."""
    return Markup(text)  # nosec B704


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tiebreak.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "plus_minus": plus_minus, "short": short}
    return environment


def _static(name: str) -> str:
    return (files("tiebreak.report.page") / "static" / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Plotly's own file, which comes with its Python package."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _blobs(live: Sequence[LiveModel], plotly: str) -> Iterator[tuple[str, str]]:
    """What the page inflates when it needs it: id and packed text."""
    yield "plotly", compress(plotly.encode("utf-8"))
    for index, model in enumerate(live):
        for seed, text in model.seeds.items():
            yield f"weights-{index}-{seed}", text


def _sort_keys(summaries: Sequence[ContenderSummary]) -> list[list[float | str]]:
    """The numbers behind the cells of the table, to sort by."""
    return [
        [
            summary.label,
            summary.val_acc.mean,
            summary.test_acc.mean,
            summary.test_loss.mean,
            summary.gap.mean,
            summary.cost.params,
            summary.cost.flops,
            summary.train_seconds.mean,
            summary.images_per_second.mean,
        ]
        for summary in summaries
    ]


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
        return [("all", next(iter(by_text)))]
    return [(", ".join(labels), text) for text, labels in by_text.items()]


def _inside(stored: StoredStudy, chains: dict[str, Any]) -> list[dict[str, Any]]:
    """Section 8, a contender each: a picture of its first layer, and the tables of its first step."""
    anatomies = read_anatomies(stored.folder)
    shown = []
    for label in (contender.label for contender in stored.study.contenders):
        if not stored.finished(label):
            continue
        entry: dict[str, Any] = {"label": label, "picture": None, "anatomy": anatomies.contenders.get(label)}
        entry["left_out"] = anatomies.left_out.get(label)
        if label in chains:
            seed = next(iter(stored.finished(label)))
            images = first_layer_images(
                read_weights(stored, label, seed), chains[label], stored.header.data.image_shape
            )
            if images is not None:
                columns = min(FILTER_COLUMNS, len(images))
                entry |= {
                    "picture": as_data_uri(as_png(draw_grid(_framed(images), columns))),
                    "count": len(images),
                    "seed": seed,
                    "kind": "filters" if images.shape[-1] < 8 else "templates",
                    "columns": columns,
                }
        if entry["anatomy"]:
            tables = (layer_table, gradient_table, update_table)
            entry["tables"] = [table(entry["anatomy"]) for table in tables]
        shown.append(entry)
    return shown


def _framed(images: UInt8[np.ndarray, "N C H W"]) -> UInt8[np.ndarray, "N C H2 W2"]:
    """A border of one grey pixel, so that neighbours can be told apart."""
    return np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=128)
