"""Ask the trained models of a study about further test parts."""

import numpy as np
import torch
from rich.console import Console

from tiebreak.actions.distort import load_trained
from tiebreak.data.dataset import ImageDataset
from tiebreak.data.test_parts import TestPart, fit_to, load_test_part
from tiebreak.data.transform import transform_dataset
from tiebreak.report.terminal.waiting import show_waiting
from tiebreak.study.also_test import read_answers, run_name, write_answers
from tiebreak.study.plan import Contender, Study
from tiebreak.study.store import StoredStudy
from tiebreak.training.loop import predict
from tiebreak.training.placement.device import thread_count
from tiebreak.training.placement.placement import Placement
from tiebreak.training.placement.precision import computing, prepare_batches, prepare_model
from tiebreak.training.run import EVAL_BATCH_SIZE


def load_parts(study: Study, data: ImageDataset) -> list[TestPart]:
    """The further test parts of a study; before anything is trained, so that a wrong one is told in time.

    Raises: DataError if one cannot be loaded or has other classes or image shapes.
    """
    return [
        fit_to(load_test_part(text, study.data.data_dir, study.data.resize), data) for text in study.also_test
    ]


def ask_about(
    stored: StoredStudy, parts: list[TestPart], data: ImageDataset, device: torch.device, console: Console
) -> None:
    """Let every finished run answer each part, and keep what it has not answered yet.

    Raises: StudyError if a run's weights are missing or do not fit.
    """
    for part in parts:
        answers = read_answers(stored, part.name)
        if not np.array_equal(answers.get("labels", np.array([])), part.labels.numpy()):
            answers = {"labels": part.labels.numpy()}
        missing = [
            (contender, seed)
            for contender in stored.study.contenders
            for seed in stored.finished(contender.label)
            if run_name(contender.label, seed) not in answers
        ]
        with show_waiting(console) as progress:
            for done, (contender, seed) in enumerate(missing):
                progress(f"Testing on {part.name}", done, len(missing))
                answers[run_name(contender.label, seed)] = _answer(
                    stored, contender, seed, part, data, device
                )
        if missing:
            write_answers(stored, part.name, answers)


def _answer(
    stored: StoredStudy,
    contender: Contender,
    seed: int,
    part: TestPart,
    data: ImageDataset,
    device: torch.device,
) -> np.ndarray:
    """The class probabilities of one run, whose own transforms the images go through first."""
    model = load_trained(stored, contender, seed, data, device)
    asked = ImageDataset(
        **{
            **vars(data),
            "test_images": part.images,
            "test_labels": part.labels,
            "folder": None,
        }
    )
    own = transform_dataset(asked, contender.transforms, seed).test
    record = stored.runs[contender.label][seed]
    plain = Placement(device=str(device), precision="fp32")
    # As the run itself was asked at its end, so that the same image gets the same answer.
    placement = record.placement if record.placement and record.device == str(device) else plain
    batches = prepare_batches(own.batches(EVAL_BATCH_SIZE), placement)
    with thread_count(record.threads), computing(placement):
        mirror = contender.recipe.tta == "mirror"
        return predict(prepare_model(model, placement), batches, device, mirror=mirror).numpy()
