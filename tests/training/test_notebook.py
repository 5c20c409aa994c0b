"""The notebook runs from its first cell to its last, and is committed as nobody has run it."""

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.training.test_flow import write_recipe
from tests.training.test_promotion import FLOORS
from tests.training.tiny import corpus, recipe_for

NOTEBOOK = Path(__file__).parents[2] / "training" / "notebook.ipynb"


def test_the_committed_notebook_holds_no_outputs() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.slow
@pytest.mark.timeout(600)  # several processes import torch, on whatever machine this is
def test_every_cell_runs_and_the_gate_answers_at_the_end(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [json.dumps({"text": text, "label": label}) for text, label in corpus(300)]
    (tmp_path / "made.jsonl").write_text("\n".join(rows))
    (tmp_path / "floors.toml").write_text(FLOORS)
    recipe = recipe_for(tiny_base, training__learning_rate=2e-2, training__epochs=20.0)
    write_recipe(recipe, tmp_path / "recipe.toml")
    for name, value in {
        "SMSIFT_LOCAL_DIR": str(tmp_path / "local"),
        "SMSIFT_BASE": str(tiny_base),
        "SMSIFT_TRACKING_URI": "http://127.0.0.1:9",  # nothing listens there
        "PYTHONPATH": str(NOTEBOOK.parents[1]),
        "TMPDIR": str(tmp_path),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "jupyter"),
    }.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    parameters.source += '\nDATA, RECIPE, FLOORS = ["made.jsonl"], "recipe.toml", "floors.toml"'
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    said = "".join(each.get("text", "") for each in notebook.cells[-1].outputs)
    assert "accuracy" in said
    assert said.splitlines()[-1].startswith("passed")
    assert not (tmp_path / "local" / "models").exists()  # asked, not promoted
    assert os.listdir(tmp_path / "local" / "data")  # noqa: PTH208 - any name will do
