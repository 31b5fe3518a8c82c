"""report.html of results that were made elsewhere: without scripts, and it asks the network for nothing."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from tiebreak.evidence.compare.judgement import Judgement
from tiebreak.evidence.compare.per_class import ClassDifference, classes_by_design, confusion_of
from tiebreak.evidence.compare.simultaneous import Ranking
from tiebreak.evidence.describe.calibration import expected_error, reliability
from tiebreak.evidence.describe.quality import ContenderSummary, spread
from tiebreak.files import atomic_write
from tiebreak.report.page import PAGE_FILE
from tiebreak.report.text.paper import checklist
from tiebreak.report.text.tables import Table, percent, ranking_table, summary_table
from tiebreak.results.results import Measure, Results

MOST_CLASSES = 30  # in a table; of more, those that tell the contenders apart the most
MOST_CONFUSED = 12  # pairs of classes, where a whole matrix would be too large to read
MATRIX = 20  # classes that a confusion matrix is drawn for
TELLING = 12  # test images of a list
THUMBNAIL = 96  # pixels
LARGEST_IMAGE = 64 * 2**20  # bytes


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with tables, and words beneath them."""

    title: str
    tables: tuple[tuple[str, Table], ...] = ()
    words: str = ""
    pictures: tuple[tuple[str, str], ...] = ()  # a data URI and what it is of


def write_judged_page(
    folder: Path,
    results: Results,
    summaries: Sequence[ContenderSummary],
    ranking: Ranking | None,
    judgements: Sequence[Judgement],
    notes: Sequence[str],
    images: Path | None = None,
) -> Path:
    """Write report.html beside the figures of a folder of judged results; gives its path.

    `images`: a folder in which the examples' ids are paths of images.
    """
    environment = Environment(
        loader=PackageLoader("tiebreak.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    sections = [
        *_numbers(summaries, ranking),
        *_classes(results, judgements),
        *_confusion(results),
        *_calibration(results),
        *_telling(results, judgements, images),
    ]
    figure = folder / "figures" / "differences.png"
    content = environment.get_template("judged.html").render(
        title=" or ".join(results.labels),
        data=results.examples,
        judgements=judgements,
        alone=summaries[0] if len(summaries) == 1 else None,
        notes=notes,
        figure=_data_uri(figure.read_bytes(), "png") if figure.is_file() else "",
        sections=sections,
        checklist=checklist(results, judgements),
        style=_STYLE,
    )
    path = folder / PAGE_FILE
    with atomic_write(path) as file:
        file.write(content.encode("utf-8"))
    return path


def _numbers(summaries: Sequence[ContenderSummary], ranking: Ranking | None) -> Iterator[Section]:
    tables = [("Mean ± standard deviation over seeds", summary_table(summaries))]
    if ranking is not None and len(ranking.standings) > 2:
        tables.insert(0, ("Contenders that share a letter could not be told apart", ranking_table(ranking)))
    yield Section(title="In numbers", tables=tuple(tables))


def _classes(results: Results, judgements: Sequence[Judgement]) -> Iterator[Section]:
    if results.measure is not Measure.CLASSES:
        return
    tables = []
    for judgement in judgements[:3]:
        entries = classes_by_design(results, judgement.a, judgement.b)
        shown = sorted(entries, key=lambda entry: -abs(entry.accuracy_a - entry.accuracy_b))[:MOST_CLASSES]
        if shown:
            tables.append(
                (f"{judgement.a} minus {judgement.b}, points", _class_table(shown, judgement, results))
            )
    if tables:
        words = "The intervals hold for all classes at once."
        yield Section(title="Class by class", tables=tuple(tables), words=words)


def _class_table(entries: Sequence[ClassDifference], judgement: Judgement, results: Results) -> Table:
    rows = []
    for entry in entries:
        found = entry.comparison
        interval = f"{100 * found.ci_low:.1f} to {100 * found.ci_high:.1f}" if found else ""
        rows.append(
            (
                results.examples.class_names[entry.label],
                f"{entry.images:,}",
                f"{100 * entry.accuracy_a:.1f}",
                f"{100 * entry.accuracy_b:.1f}",
                f"{100 * (entry.accuracy_a - entry.accuracy_b):.1f}",
                interval,
            )
        )
    columns = ("class", "images", judgement.a, judgement.b, "difference", "interval")
    return Table(columns=columns, rows=tuple(rows))


def _confusion(results: Results) -> Iterator[Section]:
    if results.measure is not Measure.CLASSES:
        return
    tables = []
    for label in results.labels:
        names = results.examples_of(label).class_names
        counts = confusion_of(results, label)
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        if len(names) <= MATRIX:
            rows = [
                (name, *(f"{share:.0f}" if share else "" for share in row))
                for name, row in zip(names, shares, strict=True)
            ]
            tables.append((label, Table(columns=("true \\ predicted", *names), rows=tuple(rows))))
            continue
        wrong = shares - np.diag(np.diag(shares))
        places = [divmod(int(place), len(names)) for place in np.argsort(-wrong, axis=None)[:MOST_CONFUSED]]
        rows = [(names[true], names[taken], f"{wrong[true, taken]:.1f}") for true, taken in places]
        columns = ("true", "taken for", "percent of it")
        tables.append((label, Table(columns=columns, rows=tuple(rows), text_columns=("taken for",))))
    yield Section(
        title="What is taken for what",
        tables=tuple(tables),
        words="Percent of each true class, over all seeds.",
    )


def _calibration(results: Results) -> Iterator[Section]:
    rows = []
    for contender in results.contenders:
        truth = results.examples_of(contender.label).truth
        probs = [run.probs for run in contender.runs.values() if run.probs is not None]
        if len(probs) == len(contender.runs):
            errors = spread([expected_error(reliability(one, truth)) for one in probs])
            sure = spread([float(one.max(axis=1).mean()) for one in probs])
            right = spread([float(run.correct(truth).mean()) for run in contender.runs.values()])
            rows.append((contender.label, percent(errors), percent(sure), percent(right)))
    if rows:
        table = Table(columns=("contender", "ECE", "mean confidence", "test acc"), rows=tuple(rows))
        words = (
            "ECE: expected calibration error in points, the mean distance between confidence and accuracy."
        )
        yield Section(title="Do they know when they are right?", tables=(("", table),), words=words)


def _telling(results: Results, judgements: Sequence[Judgement], images: Path | None) -> Iterator[Section]:
    """The examples that most seeds of one get right and most of the other get wrong."""
    ids = results.examples.ids
    if ids is None or not judgements or results.measure is Measure.SCORES:
        return
    for a, b in list(combinations(results.labels, 2))[:1]:
        if results.of(a).own is not None:
            return
        means = [np.mean(list(results.values(label).values()), axis=0) for label in (a, b)]
        tables, pictures = [], []
        for winner, lead in ((a, means[0] - means[1]), (b, means[1] - means[0])):
            order = np.argsort(-lead, kind="stable")[:TELLING]
            chosen = [index for index in order.tolist() if lead[index] > 0]
            rows = [(str(ids[index]), f"{100 * lead[index]:.0f}") for index in chosen]
            if rows:
                columns = ("example", "lead in percent of seeds")
                tables.append((f"right by {winner} alone", Table(columns=columns, rows=tuple(rows))))
            pictures += [
                (uri, str(ids[index])) for index in chosen if (uri := _thumbnail(images, str(ids[index])))
            ]
        yield Section(title="Examples that tell them apart", tables=tuple(tables), pictures=tuple(pictures))


def _thumbnail(folder: Path | None, name: str) -> str | None:
    """A small picture of an image whose path is its id; None where there is none."""
    import io

    from PIL import Image, UnidentifiedImageError

    path = None if folder is None else (folder / name).resolve()
    if folder is None or path is None or not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    if path.stat().st_size > LARGEST_IMAGE:
        return None
    file = io.BytesIO()
    try:
        with Image.open(path) as image:
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            image.convert("RGB").save(file, format="png")
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
        return None
    return _data_uri(file.getvalue(), "png")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.verdict { font-size: 1.1rem; font-weight: 600; }
.note, figcaption, caption { color: GrayText; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid color-mix(in srgb, currentColor
20%, transparent); } th:first-child, td.text { text-align: left; }
img { max-width: 100%; background: white; }
.pictures { display: flex; flex-wrap: wrap; gap: .5rem; } .pictures figure { margin: 0; max-width: 7rem; }
figcaption { font-size: .7rem; overflow-wrap: anywhere; }
"""
