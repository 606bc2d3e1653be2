"""The library as others use it: the page of its documentation, the ten lines, the notebook; all of it is run."""

import doctest
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import generate_api
import make_capture
import recon
from repository import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
QUICK = "recon.Settings(texture_px=256, target_faces=2000, turntable=False)"


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teapot in pictures so small that it takes seconds."""
    folder: Path = tmp_path_factory.mktemp("captures") / "teapot"
    make_capture.make_capture(folder, size_px=96)
    return folder


@pytest.mark.slow
def test_documented_examples_run(capture: Path, tmp_path: Path) -> None:
    """Every example of docs/api.md gives what the page says."""
    page = (REPOSITORY / "docs/api.md").read_text("utf-8").replace("\n```\n", "\n\n")
    names = {"recon": recon, "folder": capture, "output": tmp_path / "results"}
    examples = doctest.DocTestParser().get_doctest(page, names, "api.md", "docs/api.md", 0)
    assert {example.source.split("(")[0].split(".")[-1] for example in examples.examples} >= {
        function.__name__ for function in generate_api.FUNCTIONS
    }
    report: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(examples, out=report.append)
    assert outcome.failed == 0, "".join(report)


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_notebook_runs(capture: Path, tmp_path: Path) -> None:
    """The notebook runs from its first cell to its last and shows the viewer inside itself."""
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert [cell for cell in notebook.cells if cell.get("outputs")] == []
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    small = f"folder, output = Path({str(capture)!r}), Path({str(tmp_path)!r})\nsettings = {QUICK}"
    notebook.cells.insert(notebook.cells.index(parameters) + 1, nbformat.v4.new_code_cell(small))
    NotebookClient(notebook, timeout=250, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    (output,) = notebook.cells[-1].outputs
    assert output.data["text/html"].startswith("<iframe ")
    assert "&lt;canvas" in output.data["text/html"]


def test_ten_lines_are_ten_lines() -> None:
    """The example is as short as the documentation says: ten statements at most, whatever their line breaks."""
    lines = (EXAMPLES / "reconstruct.py").read_text("utf-8").splitlines()
    assert len([line for line in lines[1:] if line.strip()]) <= 10


def test_ten_lines_tell_what_is_wrong(tmp_path: Path) -> None:
    """A folder without pictures ends with the code and the remedy, not with a traceback."""
    (tmp_path / "empty").mkdir()
    command = [sys.executable, str(EXAMPLES / "reconstruct.py"), str(tmp_path / "empty"), str(tmp_path / "out")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 1
    assert finished.stderr.startswith("INPUT_")
    assert "Traceback" not in finished.stderr
