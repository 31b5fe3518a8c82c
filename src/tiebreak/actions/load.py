"""The images that a study or a command asks for, with what takes time shown."""

from rich.console import Console

from tiebreak.data.catalog import load_dataset
from tiebreak.data.dataset import ImageDataset
from tiebreak.report.terminal.waiting import show_waiting
from tiebreak.study.plan import DataChoice


def load(choice: DataChoice, console: Console) -> ImageDataset:
    """The data set of a choice.

    Raises: DataError if its name is unknown, an option does not fit it, or files are missing or broken.
    """
    with show_waiting(console) as progress:
        return load_dataset(
            choice.name,
            data_dir=choice.data_dir,
            resize=choice.resize,
            skip_bad_images=choice.skip_bad_images,
            progress=progress,
        )
