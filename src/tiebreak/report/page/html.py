"""report.html: one file that holds everything, asks the network for nothing, and can be sent to others."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tiebreak.evidence.compare.judgement import uncertainty
from tiebreak.evidence.describe.quality import ContenderSummary, Spread
from tiebreak.files import atomic_write
from tiebreak.report.page.data import Material, as_data_uri, chart_data, look_at
from tiebreak.report.page.live import LiveModel, compress
from tiebreak.report.page.sheet import as_png, draw_grid
from tiebreak.report.text.findings import Findings, summary_sentence, tuning_sentences
from tiebreak.report.text.labels import short_labels
from tiebreak.report.text.tables import (
    gradient_table,
    layer_table,
    percent,
    plus_minus,
    ranking_table,
    short,
    summary_table,
    update_table,
)
from tiebreak.report.text.values import strict_json
from tiebreak.results.anatomy import Anatomy

SCRIPTS = ("forward.js", "charts.js", "page.js", "live.js")
FILTER_COLUMNS = 16
NAME = 30  # characters of a contender in a table; whole where the pointer rests


def write_page(path: Path, findings: Findings, material: Material) -> None:
    """Write the page.

    Raises: OSError if it cannot be written.
    """
    look = look_at(findings)
    charts = chart_data(findings, look, material)
    scripts = [_static(name) for name in SCRIPTS]
    plotly = _plotly()
    content = (
        _environment()
        .get_template("page.html")
        .render(
            findings=findings,
            results=findings.results,
            summaries=findings.summaries,
            colours=findings.colours,
            names=short_labels(findings.results.labels, NAME),
            explained=findings.explained,
            summary=_summary(findings),
            ranking=ranking_table(findings.ranking) if findings.ranking and findings.is_ranked else None,
            uncertainty=uncertainty,
            tuning=tuning_sentences(findings),
            settings=list(findings.searches[0].found[0].values) if findings.searches else [],
            bands=any(searches.curve for searches in findings.searches),
            look=look,
            not_overfitting=[
                summary.label
                for summary, over in zip(findings.summaries, look.overfittings, strict=True)
                if over is None
            ],
            curves=charts["curves"],
            table=summary_table(findings.summaries),
            sort_keys=_sort_keys(findings.summaries),
            material=material,
            sheet=material.sheet,
            sheet_uri=as_data_uri(material.picture) if material.sheet else "",
            inside=material.inside,
            live=material.live,
            live_seeds=sorted({seed for model in material.live for seed in model.seeds}),
            again=material.again,
            version=metadata.version("tiebreak"),
            policy=content_security_policy([*scripts, plotly]),
            style=_trusted(_static("page.css")),
            scripts=[_trusted(script) for script in scripts],
            charts=as_script_json(charts),
            blobs=_blobs(material.live, plotly),
        )
    )
    with atomic_write(path) as file:
        file.write(content.encode("utf-8"))


def _summary(findings: Findings) -> str:
    if findings.ranking is None or not findings.is_ranked:
        return ""
    return summary_sentence(findings.ranking, findings.judgements)


def inside_entry(
    label: str,
    anatomy: Anatomy | None,
    left_out: str | None,
    first: UInt8[np.ndarray, "N C H W"] | None,
    seed: int,
) -> dict[str, Any]:
    """A contender's part of "Inside": a picture of its first layer, and the tables of its first step.

    `left_out`: why there is no anatomy; `first`: what the first layer with weights looks for, as images;
    None if they have no such form.
    """
    entry: dict[str, Any] = {"label": label, "picture": None, "anatomy": anatomy, "left_out": left_out}
    if first is not None:
        columns = min(FILTER_COLUMNS, len(first))
        entry |= {
            "picture": as_data_uri(as_png(draw_grid(_framed(first), columns))),
            "count": len(first),
            "seed": seed,
            "kind": "filters" if first.shape[-1] < 8 else "templates",
            "columns": columns,
        }
    if anatomy:
        entry["tables"] = [table(anatomy) for table in (layer_table, gradient_table, update_table)]
    return entry


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
    text = strict_json(value, separators=(",", ":"))  # ASCII only, U+2028 included
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
            _mean(summary.val_acc),
            _mean(summary.test_acc),
            _mean(summary.test_loss),
            _mean(summary.gap),
            summary.cost.params if summary.cost else 0,
            summary.cost.flops if summary.cost else 0,
            _mean(summary.train_seconds),
            _mean(summary.images_per_second),
        ]
        for summary in summaries
    ]


def _mean(spread: Spread | None) -> float:
    return 0.0 if spread is None else spread.mean


def _framed(images: UInt8[np.ndarray, "N C H W"]) -> UInt8[np.ndarray, "N C H2 W2"]:
    """A border of one grey pixel, so that neighbours can be told apart."""
    return np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=128)
