"""What the page of a study shows of its models and images, kept in its folder while both are at hand."""

import torch

from tiebreak.actions.judge import Verdicts, stored_of
from tiebreak.data.dataset import ImageDataset
from tiebreak.report.page.sheet import keep_sheet
from tiebreak.rng import stream
from tiebreak.study.inside import keep_inside


def keep_for_the_page(verdicts: Verdicts, data: ImageDataset) -> None:
    """Write layers.json, anatomy.json and the images, so that `report` needs neither model nor data."""
    keep_inside(stored_of(verdicts), data)
    shuffled = torch.randperm(len(data.test), generator=stream(0, "sheet")).tolist()
    keep_sheet(verdicts.folder, verdicts.results, data.test_images.numpy(), shuffled)
