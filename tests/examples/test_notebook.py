from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest


def test_the_notebook_is_valid_and_carries_no_output(example: Path) -> None:
    notebook = nbformat.read(example / "notebook.ipynb", as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(science, example: Path, tmp_path: Path) -> None:
    cells = json.loads((example / "notebook.ipynb").read_text())["cells"]
    source = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    script = tmp_path / "notebook.py"
    script.write_text(
        "\n\n".join(source) + "\nassert len(history) == 3 and len(errors(table)) == 3\n"
    )
    run = science.run(example, script)
    assert run.returncode == 0, run.stderr
