"""How much Python loads before it answers: `--help` and `import bayes_snn` need none of the large libraries."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bayes_snn import names

LARGE = (
    *("pymc", "pytensor", "arviz", "numba", "sklearn", "matplotlib", "torch", "dask", "distributed"),
    *("xarray", "scipy", "pandas", "numpy", "zmq"),
)
COMMANDS = ["fit", "sweep", "report", "serve", "export"]
LOOK = """
import json, runpy, sys
sys.argv = ["command", *{arguments!r}]
code = None
try:
    {line}
except SystemExit as end:
    code = end.code
print("\\n" + json.dumps([code, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


def loaded(line: str, *arguments: str) -> tuple[int | None, set[str], str]:
    """Exit code, top packages in sys.modules and output of a line of Python in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(names.__file__).parents[1])}
    program = LOOK.format(line=line, arguments=list(arguments))
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    output, _, last = ended.stdout.rstrip().rpartition("\n")
    code, modules = json.loads(last)
    return code, set(modules), output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_no_large_library(command: str) -> None:
    code, modules, page = loaded(f"runpy.run_module('bayes_snn.{command}', run_name='__main__')", "--help")
    assert not code
    assert "Usage:" in page
    assert modules.isdisjoint(LARGE), modules.intersection(LARGE)


def test_the_package_loads_nothing_until_a_name_is_asked_for() -> None:
    _, modules, _ = loaded("import bayes_snn; bayes_snn.DISTORTIONS; bayes_snn.InputError")
    assert modules.isdisjoint([*LARGE, "typer", "rich"])


def test_a_name_loads_what_it_needs() -> None:  # the look above sees what it is meant to see
    _, modules, _ = loaded("import bayes_snn; bayes_snn.fit")
    assert {"pymc", "pytensor", "arviz", "numba", "xarray", "scipy", "numpy"} <= modules
