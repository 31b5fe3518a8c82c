"""Commands to look around: models, anatomy, bench, data."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiebreak.cli.app import app, data_app, echo_json, load_data, make_console, recipes_app
from tiebreak.cli.options import (
    BatchSize,
    DataDir,
    Dataset,
    Json,
    LearningRate,
    Resize,
    SkipBadImages,
    Threads,
)
from tiebreak.data.names import DEFAULT_DATASET

if TYPE_CHECKING:
    pass


@app.command(epilog="Example: [bold]tiebreak anatomy cnn --dataset cifar10[/bold]")
def anatomy(
    model: Annotated[str, typer.Argument(help="A model, e.g. mlp or 'cnn(width=64)'.")],
    dataset: Dataset = DEFAULT_DATASET,
    data_dir: DataDir = None,
    resize: Resize = None,
    skip_bad_images: SkipBadImages = False,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the initial weights and the batch.")] = 0,
) -> None:
    """Walk through one training step on a real batch: zero gradients, forward, loss, backward, update."""
    from tiebreak.actions.look import examine
    from tiebreak.report.terminal.look import print_anatomy

    settings = {"batch_size": batch_size, "lr": lr}
    given: dict[str, Any] = {key: value for key, value in settings.items() if value is not None}
    data = load_data(dataset, data_dir=data_dir, resize=resize, skip_bad_images=skip_bad_images)
    print_anatomy(examine(model, data, seed=seed, **given), model, make_console())


@app.command(epilog="Example: [bold]tiebreak models 'cnn(width=64)' --dataset cifar10[/bold]")
def models(
    more: Annotated[
        list[str] | None, typer.Argument(help="Models to count beside the built-in ones.")
    ] = None,
    dataset: Dataset = DEFAULT_DATASET,
    data_dir: DataDir = None,
    resize: Resize = None,
    skip_bad_images: SkipBadImages = False,
) -> None:
    """List the models with their parameters and FLOPs for a data set's images."""
    from tiebreak.actions.look import model_table
    from tiebreak.report.terminal.tables import print_table

    data = load_data(dataset, data_dir=data_dir, resize=resize, skip_bad_images=skip_bad_images)
    shape = " x ".join(map(str, data.image_shape))
    typer.echo(f"For images of {shape} in {data.num_classes} classes ({data.name}):\n")
    print_table(model_table(data, more or []), make_console())


@app.command(epilog="Example: [bold]tiebreak bench --threads 2[/bold]")
def bench(
    dataset: Dataset = None,
    data_dir: DataDir = None,
    threads: Threads = None,
    quick: Annotated[bool, typer.Option("--quick", help="About 20 seconds, and less sure.")] = False,
    as_json: Json = False,
) -> None:
    """Measure how fast this machine trains, beside the case study's loop. At most 2 minutes.

    Without --dataset on random images of CIFAR-10's size: what is on an image does not change the speed.
    """
    from dataclasses import asdict

    from tiebreak.bench.loops import random_images
    from tiebreak.bench.measure import Effort, run_bench
    from tiebreak.bench.table import bench_notes, bench_table
    from tiebreak.report.terminal.tables import print_table, say

    data = load_data(dataset, data_dir=data_dir) if dataset else random_images()
    measured = run_bench(data, threads, Effort.quick() if quick else Effort())
    console = make_console(stderr=as_json)
    print_table(bench_table(measured), console)
    for note in bench_notes(measured):
        say(note, console)
    if as_json:
        echo_json(asdict(measured))


@data_app.command("list")
def data_list() -> None:
    """List the data sets that tiebreak knows."""
    from tiebreak.data.catalog import dataset_names
    from tiebreak.report.terminal.tables import print_table
    from tiebreak.report.text.tables import Table

    rows = tuple(
        (name, description, "here" if at_hand else "download")
        for name, description, at_hand in dataset_names()
    )
    columns = ("name", "what it is", "where")
    print_table(Table(columns=columns, rows=rows, text_columns=columns), make_console())


@data_app.command("fetch", epilog="Example: [bold]tiebreak data fetch cifar10[/bold]")
def data_fetch(name: Annotated[str, typer.Argument(help="A name from the list.")]) -> None:
    """Download a data set if it is not here yet, check it, and prepare it for use."""
    data = load_data(name)
    typer.echo(f"{data.name}: {len(data.train):,} training and {len(data.test):,} test images are ready.")


@data_app.command("show", epilog="Example: [bold]tiebreak data show folder:photos --resize 32[/bold]")
def data_show(
    name: Annotated[str, typer.Argument(help="A name from the list, folder:PATH or arrays:FILE.npz.")],
    data_dir: DataDir = None,
    resize: Resize = None,
    skip_bad_images: SkipBadImages = False,
) -> None:
    """Tell what is in a data set: images, classes, channel statistics, fingerprint."""
    from tiebreak.actions.look import class_table, dataset_facts
    from tiebreak.report.terminal.tables import print_table, say

    data = load_data(name, data_dir=data_dir, resize=resize, skip_bad_images=skip_bad_images)
    console = make_console()
    say(data.name, console, style="bold")
    for fact, text in dataset_facts(data):
        say(f"{fact:<12} {text}", console)
    say("", console)
    print_table(class_table(data), console)


@recipes_app.command("list", epilog="Example: [bold]tiebreak recipes list[/bold]")
def list_recipes() -> None:
    """The recipes that --recipe takes by name."""
    from tiebreak.study.named_recipes import recipe_names

    names = recipe_names()
    for name, text in names.items():
        typer.echo(f"{name:{max(map(len, names))}}  {text}")


@recipes_app.command("show", epilog="Example: [bold]tiebreak recipes show strong > mine.toml[/bold]")
def show_recipe(name: Annotated[str, typer.Argument(help="A name from 'tiebreak recipes list'.")]) -> None:
    """Print a recipe, to be kept as a file, changed, and given with --recipe mine.toml."""
    from tiebreak.study.named_recipes import recipe_text

    typer.echo(recipe_text(name), nl=False)
