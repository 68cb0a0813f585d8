"""The notebooks run, their two files agree cell by cell, and what is stored holds nothing of the machine it ran on."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jupytext")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

import nbformat

from analysis import notebooks

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "analysis"


def stored(name, folder=FOLDER):
    return nbformat.read(folder / f"{name}.ipynb", as_version=4)


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def texts(notebook):
    """All text of the outputs."""
    found = []
    for output in outputs(notebook):
        found.append(output.get("text", ""))
        found += [value for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
    return found


def pictures(notebook):
    return [base64.b64decode(o.data["image/png"]) for o in outputs(notebook) if "image/png" in o.get("data", {})]


def check_outputs(notebook):
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    for text in texts(notebook):
        assert not re.search(r"0x[0-9a-f]{6,}|site-packages|/tmp/|/home/|/root/|ipykernel|Traceback", text), text
        assert "Warning" not in text or "LooWarning: LOO cannot be relied on" in text, text
    assert all(picture.startswith(b"\x89PNG") for picture in pictures(notebook))


def test_every_notebook_is_listed_and_a_pair():
    percent = {
        path.stem for path in FOLDER.glob("*.py") if path.read_text(encoding="utf-8").startswith("# %% [markdown]")
    }
    assert percent == set(notebooks.NOTEBOOKS) == {path.stem for path in FOLDER.glob("*.ipynb")}


@pytest.mark.parametrize("name", notebooks.NOTEBOOKS)
def test_the_pair_agrees_cell_by_cell(name):
    source, kept = notebooks.read(name), stored(name)
    nbformat.validate(kept)
    assert [(c.cell_type, c.source, c.id) for c in source.cells] == [(c.cell_type, c.source, c.id) for c in kept.cells]
    assert kept.metadata == source.metadata
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    check_outputs(kept)
    assert pictures(kept)


@pytest.mark.parametrize("name", notebooks.NOTEBOOKS)
def test_links_lead_somewhere(name):
    for cell in notebooks.read(name).cells:
        for link in re.findall(r"\]\(([^)\s]+)\)", cell.source) if cell.cell_type == "markdown" else []:
            assert (FOLDER / link.split("#")[0]).exists(), link


@pytest.mark.parametrize("name", notebooks.NOTEBOOKS)
def test_it_is_a_story(name):
    cells = notebooks.read(name).cells
    assert cells[0].source.startswith("# ")
    assert cells[0].source.splitlines()[0].endswith("?")
    assert "**In short.**" in cells[0].source
    assert max(len(cell.source.splitlines()) for cell in cells if cell.cell_type == "code") <= 25


@pytest.mark.slow
@pytest.mark.parametrize("name", notebooks.NOTEBOOKS)
def test_it_runs(name, tmp_path):
    command = [sys.executable, str(FOLDER / "notebooks.py"), name, "--output", str(tmp_path)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ran, kept = stored(name, tmp_path), stored(name)
    check_outputs(ran)
    assert [c.source for c in ran.cells] == [c.source for c in kept.cells]
    assert len(pictures(ran)) == len(pictures(kept))
    # the numbers may differ in the last digits from machine to machine, what is printed does not
    for first, second in zip(ran.cells, kept.cells, strict=True):
        if first.cell_type == "code":
            assert [o.output_type for o in first.outputs] == [o.output_type for o in second.outputs]


def test_a_failing_cell_is_told_and_writes_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.py").write_text("# %% [markdown]\n# # Why?\n\n# %%\n1 / 0\n", encoding="utf-8")
    monkeypatch.setattr(notebooks, "HERE", tmp_path)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", ("bad",))
    monkeypatch.setattr(notebooks, "SETUP", "pass")
    monkeypatch.setattr(sys, "argv", ["notebooks.py", "--output", str(tmp_path)])
    assert notebooks.main() == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.py"]
