"""The whole way, one function each: what the commands do and `import tiebreak` offers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from tiebreak.data.catalog import load_dataset
from tiebreak.data.dataset import ImageDataset
from tiebreak.errors import EvidenceError
from tiebreak.evidence.budget import Budget, basis_from_defaults, basis_from_pilot, make_budget
from tiebreak.evidence.claim_outcome import ClaimOutcome
from tiebreak.evidence.judgement import Judgement, judge_study
from tiebreak.evidence.quality import ContenderSummary, summarise_contenders
from tiebreak.evidence.quantities import check_claims, compare_quantity
from tiebreak.evidence.simultaneous import Ranking
from tiebreak.evidence.until_decided import LookState, seeds_to_train
from tiebreak.models.catalog import BUILTIN, build_model, describe_factory
from tiebreak.models.cost import model_cost
from tiebreak.report.explained import read_explanation
from tiebreak.report.html import PAGE_FILE, write_page
from tiebreak.report.sheet import keep_sheet
from tiebreak.report.tables import (
    Table,
    contender_as_json,
    judgement_as_json,
    looks_as_json,
    ranking_as_json,
    short,
    summary_table,
)
from tiebreak.report.terminal import print_evidence, print_table, say, show_progress
from tiebreak.rng import global_stream, stream
from tiebreak.study.driver import run_study
from tiebreak.study.inside import keep_inside
from tiebreak.study.plan import (
    DEFAULT_DATASET,
    DEFAULT_SEEDS,
    DataChoice,
    Execution,
    Study,
    choose_seeds,
    default_folder,
    make_recipe,
    make_study,
    parse_contender,
)
from tiebreak.study.stop import StopRequest
from tiebreak.study.store import StoredStudy, read_study
from tiebreak.training.anatomy import Anatomy, examine_step
from tiebreak.training.device import choose_device
from tiebreak.training.loop import History
from tiebreak.training.recipe import Recipe, make_criterion, make_optimizer


@dataclass(frozen=True, kw_only=True)
class Results:
    """A study and what it shows. Printing it gives the table and the verdict."""

    stored: StoredStudy
    contenders: tuple[ContenderSummary, ...]
    ranking: Ranking | None  # None for a single contender, or before the first look
    judgements: tuple[Judgement, ...]  # one a pair
    looks: LookState | None = None  # of a study that trains seeds until it is decided
    notes: tuple[str, ...] = ()  # what must be known beside the verdicts

    @property
    def folder(self) -> Path:
        return self.stored.folder

    @property
    def page(self) -> Path:
        """The interactive page, once it has been written."""
        return self.folder / PAGE_FILE

    @property
    def histories(self) -> dict[str, list[History]]:
        """The curves of each contender's finished runs, by label."""
        return {
            summary.label: [
                run.history for run in self.stored.finished(summary.label).values() if run.history
            ]
            for summary in self.contenders
        }

    def compare(self, quantity: str = "accuracy") -> tuple[Judgement, ...]:
        """Every pair judged by "accuracy", "loss", "brier" or the name of a class.

        Raises: EvidenceError for another quantity, or if nothing can be compared yet.
        """
        return compare_quantity(self.stored, quantity)

    def __str__(self) -> str:
        text = StringIO()
        print_results(self, Console(file=text, width=120, force_terminal=False, force_jupyter=False))
        return text.getvalue()


def compare(
    contenders: Sequence[str],
    data: str | ImageDataset = DEFAULT_DATASET,
    *,
    seeds: int | Sequence[int] | Literal["auto"] = DEFAULT_SEEDS,
    max_seeds: int | None = None,
    looks: Sequence[int] | None = None,
    equivalence: float | None = None,
    baseline: str | None = None,
    recipe: Recipe | None = None,
    out: Path | str | None = None,
    device: str = "auto",
    threads: int = 1,
    progress: bool = True,
    **recipe_settings: Any,
) -> Results:
    """Train contenders side by side and judge them.

    Arguments: `contenders` - models as on the command line, e.g. ["mlp", "wide=cnn(width=64)"]; `data` - a
    data set or its name; `seeds` - how many, or which, or "auto": until it is decided, judged at `looks` and
    with at most `max_seeds`; `equivalence` - a difference that would not matter, 0.01 is one point;
    `baseline` - the label that all others are compared with; `recipe_settings` - what differs from `recipe`,
    e.g. epochs=10; `out` - the study folder, by default one named after the plan. If it holds a part of this
    study already, the rest is trained.

    Raises: TiebreakError of the kind that fits, before anything is trained, if a name or value is wrong.
    """
    base = make_recipe(recipe or Recipe(), recipe_settings)
    choice = DataChoice(name=data if isinstance(data, str) else data.name)
    study = make_study(
        contenders=tuple(parse_contender(text, base) for text in contenders),
        **choose_seeds(None if seeds == "auto" else seeds, looks, max_seeds),
        equivalence=equivalence,
        baseline=baseline,
        data=choice,
    )
    console = Console(quiet=not progress)
    execution = Execution(device=device, threads=threads)
    return run(
        study,
        execution,
        Path(out) if out else None,
        data if isinstance(data, ImageDataset) else None,
        console,
    )


def run(
    study: Study,
    execution: Execution | None = None,
    out: Path | None = None,
    data: ImageDataset | None = None,
    console: Console | None = None,
    stop: StopRequest | None = None,
) -> Results:
    """Train what is missing of a study, judge it, and write its figures and its page.

    `data`: loaded by name if not given.

    Raises: TiebreakError of the kind that fits if a name, value, file or folder is wrong; StoppedError once
    `stop` is set and what is under way is stored.
    """
    console = console or Console(quiet=True)
    folder = out or default_folder(study)
    if data is None:
        choice = study.data
        data = load_dataset(choice.name, data_dir=choice.data_dir, resize=choice.resize)
    execution = execution or Execution()
    trained = 0
    for seeds in seeds_to_train(study, folder):
        if trained:
            say(f"Not decided at {trained} seeds: going on to {len(seeds)}.", console)
        trained, part = len(seeds), study.model_copy(update={"seeds": seeds})
        events = run_study(study, data, folder, execution, seeds, stop)
        done = _runs_done(folder, part, execution.retry_failed)
        for _ in show_progress(events, part, done, console):
            pass
    results = judge(folder)
    with console.status("Drawing figures and writing the page"):
        keep_inside(results.stored, data)
        keep_sheet(results.stored, data)
        draw_figures(results)
        write_page(results.stored, results.contenders, results.judgements)
    return results


def _runs_done(folder: Path, study: Study, retry_failed: bool) -> int:
    if not (folder / "study.json").is_file():
        return 0
    runs = read_study(folder).runs
    return sum(
        run.status == "finished" or not retry_failed
        for contender in study.contenders
        for seed, run in runs.get(contender.label, {}).items()
        if seed in study.seeds
    )


def judge(folder: Path | str) -> Results:
    """What a study folder shows, from its files alone.

    Raises: StudyError if it holds no study, is damaged, or a contender has no finished run.
    """
    stored = read_study(Path(folder))
    summaries = summarise_contenders(stored)
    judged = judge_study(stored)
    if judged.looks is not None:  # seeds that only later looks would need are not missing
        due = stored.study.seeds[: judged.looks.next_look or judged.looks.looks[judged.looks.looks_done - 1]]
        summaries = tuple(
            replace(summary, missing=tuple(seed for seed in summary.missing if seed in due))
            for summary in summaries
        )
    return Results(
        stored=stored,
        contenders=summaries,
        ranking=judged.ranking,
        judgements=judged.judgements,
        looks=judged.looks,
        notes=judged.notes,
    )


def check(folder: Path | str, claims: Sequence[str]) -> tuple[ClaimOutcome, ...]:
    """Hold claims such as "cnn - mlp >= 0.15" or "cnn.params <= mlp.params" against a study.

    Raises: ClaimError if one cannot be read or names what was not measured; StudyError or EvidenceError if
    the study cannot be read or judged.
    """
    return check_claims(read_study(Path(folder)), list(claims))


def plan(
    difference: float,
    *,
    pilot: Path | str | None = None,
    power: float = 0.8,
    level: float | None = None,
    test_images: int | None = None,
    accuracy: float | None = None,
    contenders: int = 2,
    out: Path | str | None = None,
) -> Budget:
    """Seeds and training time to show a difference in accuracy (0.01 is one point) with this power.

    Arguments: `pilot` - a finished study to learn from; without one, `test_images` and `accuracy` are needed
    and bounds are used; `level` - by default the pilot's, or 0.95; `out` - a folder for the figure.

    Raises: StudyError or EvidenceError if something is missing or out of range.
    """
    if pilot is not None:
        basis = basis_from_pilot(read_study(Path(pilot)), level)
    elif test_images is not None and accuracy is not None:
        basis = basis_from_defaults(
            test_images, accuracy, difference, level=0.95 if level is None else level, contenders=contenders
        )
    else:
        raise EvidenceError(
            "a plan needs a pilot study (--pilot), or the number of test images and the accuracy expected "
            "(--test-images 10000 --accuracy 0.9)."
        )
    budget = make_budget(basis, difference, power)
    if out is not None:
        from tiebreak.report.plots_evidence import save_power

        save_power(budget, Path(out))
    return budget


def draw_figures(results: Results) -> list[Path]:
    """Write the figures of a study into its folder, as PNG and SVG."""
    # Matplotlib is imported when it is needed: training begins that much earlier.
    from tiebreak.report.plots import save_figures
    from tiebreak.report.plots_evidence import save_differences

    names = {contender.label: contender.folder for contender in results.stored.study.contenders}
    figures = results.folder / "figures"
    return [
        *save_figures(results.histories, figures, names),
        *save_differences(results.judgements, figures),
    ]


def write_report(folder: Path | str) -> Results:
    """Judge a study again, draw its figures and write its page (report.html), from its folder alone.

    Raises: StudyError as `judge`.
    """
    results = judge(folder)
    draw_figures(results)
    write_page(results.stored, results.contenders, results.judgements)
    return results


def examine(
    model: str, data: ImageDataset, *, seed: int = 0, device: str = "auto", **recipe_settings: Any
) -> Anatomy:
    """One training step of a freshly initialised model on the first batch of its run with that seed.

    Raises: ModelError or StudyError if the model or a recipe setting is wrong.
    """
    recipe = make_recipe(Recipe(), recipe_settings)
    where = choose_device(device)
    with global_stream(seed, "init"):
        network = build_model(model, data.image_shape, data.num_classes).to(where)
    batches = data.train.batches(recipe.batch_size, shuffle=True, generator=stream(seed, "order"))
    images, labels = next(iter(batches))
    with global_stream(seed, "dropout"):
        return examine_step(
            network,
            images.to(where),
            labels.to(where),
            make_criterion(recipe),
            make_optimizer(recipe, network),
        )


def model_table(data: ImageDataset, more: Sequence[str] = ()) -> Table:
    """The built-in models, and more that are named, with what they cost on the data set's images."""
    rows = []
    for text in [*BUILTIN, *more]:
        with global_stream(0, "init"):
            network = build_model(text, data.image_shape, data.num_classes)
        cost = model_cost(network, data.image_shape)
        rows.append((text, f"{cost.params:,}", short(cost.flops), describe_factory(text)))
    return Table(
        columns=("model", "params", "FLOPs/image", "arguments and defaults"),
        rows=tuple(rows),
        text_columns=("arguments and defaults",),
    )


def print_results(results: Results, console: Console) -> None:
    """The final table, what must be said about the data, the verdict, and where the figures are."""
    data = results.stored.header.data
    console.print()
    print_table(summary_table(results.contenders), console)
    console.print()
    for note in data.notes:
        console.print(f"Note: {note}", markup=False, highlight=False)
    for summary in results.contenders:
        for seed, reason in summary.failed.items():
            console.print(
                f"Note: {summary.label}, seed {seed} failed: {reason}", markup=False, highlight=False
            )
    explanation = read_explanation(results.folder)
    if explanation is not None:  # its contenders were trained to answer its questions, not each other
        say(" ".join(explanation["sentences"]), console)
    else:
        print_evidence(results.ranking, results.judgements, results.notes, console)
    if results.ranking is None:
        say("One contender: there is nothing to compare it with.", console)
    console.print(f"\nStudy folder: {results.folder} (figures in figures/)", markup=False, soft_wrap=True)
    if results.page.is_file():
        console.print(f"Look at it:   {results.page}", markup=False, highlight=False, soft_wrap=True)


def as_json(results: Results) -> dict[str, Any]:
    """The object that `--json` prints; accuracies and differences are fractions."""
    data = results.stored.header.data
    return {
        "study": str(results.folder),
        "data": {"name": data.name, "fingerprint": data.fingerprint, "verified": data.verified},
        "contenders": {summary.label: contender_as_json(summary) for summary in results.contenders},
        "comparisons": [judgement_as_json(judgement) for judgement in results.judgements],
        "ranking": ranking_as_json(results.ranking) if results.ranking else [],
        "looks": looks_as_json(results.looks) if results.looks else None,
        "seeds_added": [[added.before, added.now] for added in results.stored.header.seeds_added],
        "notes": list(results.notes),
    }
