"""The notebook runs from start to end, and its takeaway is made of the run's own numbers."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "case_study.ipynb"
QUICK = 'DATASET = "digits"\nDATA_DIR = None\nEPOCHS = 2\nSEEDS = 2'
# Jupyter's own libraries; none of it is about the notebook.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_the_case_study_runs_from_start_to_end(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    [parameters] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source = QUICK
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    takeaway = notebook.cells[-2].outputs[-1].data["text/markdown"]
    table = dict(re.findall(r"^\| (mlp|cnn) \| (\d+\.\d)% \|", takeaway, re.MULTILINE))
    printed = next(cell for cell in notebook.cells if cell.source.startswith("results = ")).outputs[0]["text"]
    for name, accuracy in table.items():
        assert re.search(rf"^{name} +{accuracy} ±", printed, re.MULTILINE)
    assert set(table) == {"mlp", "cnn"}


def test_every_part_of_the_case_study_is_there():
    text = NOTEBOOK.read_text()
    for heading in (
        "## Data",
        "## MLP baseline",
        "### Anatomy",
        "### Training and evaluation",
        "## CNN",
        "## Full training",
        "## Results",
        "## Takeaway",
    ):
        assert heading in text
