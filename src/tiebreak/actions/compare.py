"""`tiebreak compare`: contenders named in words, trained side by side and judged."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tiebreak.actions.judge import Verdicts
from tiebreak.actions.run import run
from tiebreak.data.dataset import ImageDataset
from tiebreak.data.names import DEFAULT_DATASET, dataset_name
from tiebreak.report.terminal.console import TerminalConsole
from tiebreak.study.plan import Execution, Study
from tiebreak.study.study_file import interpret, sort_settings


def compare(
    contenders: Sequence[str | Mapping[str, Any]],
    data: str | Path | ImageDataset = DEFAULT_DATASET,
    *,
    progress: bool = True,
    **settings: Any,
) -> Verdicts:
    """Train contenders side by side and judge them.

    Arguments: `contenders` - models as on the command line, e.g. ["mlp", "wide=cnn(width=64)"], or the tables
    of a study file, e.g. {"model": "cnn", "transforms": ["permute-pixels"]}; `data` - a data set or its name;
    `settings` - every key of a study file and every option of the command line, by its name: seeds (a number,
    a list, or "auto" with looks and max_seeds), level, equivalence, superiority, baseline, out; epochs, lr,
    batch_size and the rest of the recipe; val_size, resize, skip_bad_images, data_dir; device, threads,
    precision, executor, workers, ...

    Raises: TiebreakError of the kind that fits, before anything is trained, if a name or value is wrong.
    """
    study, execution, out, given = read_call(contenders, data, settings)
    return run(study, execution, out, given, TerminalConsole(quiet=not progress, emoji=False))


def read_call(
    contenders: Sequence[str | Mapping[str, Any]],
    data: str | Path | ImageDataset,
    settings: Mapping[str, Any],
) -> tuple[Study, Execution, Path | None, ImageDataset | None]:
    """What a Python call means: as a study file would, with a data set that may be at hand already.

    Raises: StudyError for an unknown or wrong setting.
    """
    given = data if isinstance(data, ImageDataset) else None
    name = data.name if isinstance(data, ImageDataset) else dataset_name(data)
    content = sort_settings({"contenders": list(contenders), "dataset": name, **settings})
    return (*interpret(content, {}), given)
