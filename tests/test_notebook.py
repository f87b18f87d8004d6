"""The notebook of the first five minutes runs from top to bottom and shows what it showed when it was written."""

import json
import os
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "five_minutes.ipynb"
MOST_BYTES = 400_000


def kinds(cell):
    """What a cell shows, without its figures: they differ between machines."""
    return {(one["output_type"], *sorted(one.get("data", ()))) for one in cell.get("outputs", ())}


def texts(notebook):
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            yield "".join(output.get("text", "")) + "".join(output.get("data", {}).get("text/plain", ""))


def test_it_is_stored_with_what_it_shows_and_small():
    notebook = json.loads(NOTEBOOK.read_text())
    assert NOTEBOOK.stat().st_size < MOST_BYTES
    shown = "\n".join(texts(notebook))
    for line in (r"epoch 39  re-dense 50%", r"<AuditResult: ", r"<Results of dsd on digits"):
        assert re.search(line, shown)
    assert not re.search(r"Traceback|/home/|/root/|/tmp/", NOTEBOOK.read_text())
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run from top to bottom"


@pytest.mark.notebooks
@pytest.mark.filterwarnings("ignore")
def test_it_runs_and_shows_the_same_kinds(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    stored = [kinds(cell) for cell in notebook.cells]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [kinds(cell) for cell in notebook.cells] == stored
    if os.environ.get("REDENSE_WRITE_NOTEBOOK"):  # to store what it shows now
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        nbformat.write(notebook, NOTEBOOK)
