"""Run the notebooks of this folder: `make notebooks`, or python analysis/notebooks.py [NAME ...] [--output FOLDER].

A notebook is a pair: NAME.py, percent cells for people and diffs, and NAME.ipynb, made from it with outputs. What is
written depends on the cells alone: no times, no paths, no ids made at random.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent
NOTEBOOKS = ("posterior_diagnostics", "changing_the_prior", "your_chip")
TIMEOUT = 600  # seconds of a cell, on a slow machine
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# Run before the first cell and not kept. Warnings are errors, but for those that a notebook shows on purpose; shown,
# they say nothing of where the package lies.
SETUP = """
import warnings
from bayes_snn.checks.leave_one_out import LooWarning
warnings.simplefilter("error")
warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", category=PendingDeprecationWarning)
warnings.filterwarnings("always", category=LooWarning)
warnings.formatwarning = lambda message, category, *place, **rest: f"{category.__name__}: {message}\\n"
%matplotlib inline
%config InlineBackend.print_figure_kwargs = {"dpi": 110}
"""


def read(name: str) -> Any:
    """The notebook of NAME.py, without outputs; cells are numbered from 1 in their ids."""
    notebook = jupytext.read(HERE / f"{name}.py", fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, 1):
        cell["id"], cell["metadata"] = f"cell-{number}", nbformat.from_dict({})
    return notebook


def execute(notebook: Any) -> Any:
    """Run all cells in a kernel of their own, in an empty folder, and fill in the outputs.

    Raises `CellExecutionError` at the first cell that fails.
    """
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SETUP))
    with tempfile.TemporaryDirectory() as folder:
        # sockets in a folder of this user rather than ports that anyone on the machine can read
        sockets = {} if sys.platform == "win32" else {"transport": "ipc", "ip": f"{folder}/.kernel"}
        client = NotebookClient(
            notebook,
            km=AsyncKernelManager(kernel_name="python3", **sockets),
            timeout=TIMEOUT,
            startup_timeout=TIMEOUT,
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,
        )
        client.owns_km = True  # it ends the kernel, too
        client.execute()
    del notebook.cells[0]
    notebook.metadata = nbformat.from_dict(METADATA)  # the kernel has put its version there
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
            _without_sizes(output)
    return notebook


def _without_sizes(output: Any) -> None:
    """A picture is said to be a figure, not an object of so many pixels."""
    data = output.get("data", {})
    if "image/png" in data:
        data["text/plain"] = "<Figure>"
        data["image/png"] = re.sub(r"\s", "", data["image/png"])
        output["metadata"] = nbformat.from_dict({})


def write(notebook: Any, path: Path) -> None:
    """Write a notebook under a temporary name, then rename it."""
    nbformat.validate(notebook)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> int:
    """Run the notebooks that are asked for; 1 when a cell of one failed, whose old file is then left as it was."""
    parser = argparse.ArgumentParser(description="Run notebooks and write them with their outputs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NOTEBOOKS)}; all when left out")
    parser.add_argument(
        "--output", type=Path, default=HERE, help="folder of the .ipynb files (default: beside the .py)"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NOTEBOOKS):
        parser.error(f"unknown notebook {', '.join(sorted(unknown))}: pick of {', '.join(NOTEBOOKS)}")
    for name in arguments.names or NOTEBOOKS:
        try:
            notebook = execute(read(name))
        except CellExecutionError as error:
            print(f"{name}: a cell failed\n{error}", file=sys.stderr)
            return 1
        write(notebook, arguments.output / f"{name}.ipynb")
        print(arguments.output / f"{name}.ipynb")
    return 0


if __name__ == "__main__":
    sys.exit(main())
