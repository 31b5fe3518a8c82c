"""The notebook runs from start to end, and its takeaway is made of the run's own numbers."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NOTEBOOK = NOTEBOOKS / "case_study.ipynb"
QUICK = 'DATASET = "digits"\nDATA_DIR = None\nEPOCHS = 2\nSEEDS = 2'
# Jupyter's own libraries; none of it is about the notebook.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def execute(path, quick, folder):
    """The notebook after it ran with small settings."""
    notebook = nbformat.read(path, as_version=4)
    [parameters] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source = quick
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}
    ).execute()
    return notebook


def printed_by(notebook, beginning):
    """What the cell of that beginning printed."""
    [cell] = [cell for cell in notebook.cells if cell.source.startswith(beginning)]
    return "".join(output.get("text", "") for output in cell.outputs)


def test_the_case_study_runs_from_start_to_end(tmp_path):
    notebook = execute(NOTEBOOK, QUICK, tmp_path)
    takeaway = notebook.cells[-2].outputs[-1].data["text/markdown"]
    table = dict(re.findall(r"^\| (mlp|cnn) \| (\d+\.\d)% \|", takeaway, re.MULTILINE))
    printed = next(cell for cell in notebook.cells if cell.source.startswith("results = ")).outputs[0]["text"]
    for name, accuracy in table.items():
        assert re.search(rf"^{name} +{accuracy} ±", printed, re.MULTILINE)
    assert set(table) == {"mlp", "cnn"}


def test_how_sure_runs_and_its_claims_are_graded(tmp_path):
    notebook = execute(NOTEBOOKS / "how_sure.ipynb", 'DATASET = "digits"\nSEEDS = 3\nEPOCHS = 1', tmp_path)
    graded = printed_by(notebook, "outcomes = ").splitlines()
    assert [line.partition(": ")[2].partition(" (")[0] for line in graded] == [
        "cnn > mlp",
        "cnn - mlp > 10 points",
        "cnn ~ mlp within 1 point",
    ]
    assert "a winner among equals: after one look " in printed_by(notebook, "LOOKS = ")


def test_why_cnn_runs_and_answers_both_questions(tmp_path):
    notebook = execute(NOTEBOOKS / "why_cnn.ipynb", 'DATASET = "digits"\nSEEDS = 2\nEPOCHS = 1', tmp_path)
    answer = printed_by(notebook, "explanation = ")
    assert "On the images as they are" in answer and "From mlp to cnn in steps" in answer


@pytest.mark.parametrize("name", ["case_study", "how_sure", "why_cnn"])
def test_outputs_are_stored_and_none_is_an_error(name):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output["output_type"] == "error"]
    texts = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs]
    path_of_a_machine = re.compile(r"(?<![\w./:<])/[\w.-]+/[\w.-]")
    assert not list(filter(path_of_a_machine.search, texts))


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
