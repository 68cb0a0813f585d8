"""What the tests of studies share: real processes, workers that can be told to be slow, and made-up rows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayes_snn.estimates.predict import DEPLOYABLE, DISTILLED
from bayes_snn.studies.cells import BACKPROP, IN_THE_LOOP, Cell, canonical
from bayes_snn.studies.folder import row_schema
from bayes_snn.studies.run_cell import SCORES, TIMES

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0  # s, to give up: nothing is measured by it

# Every worker process imports this first. Cells of logistic regression, the quickest there are, leave a line behind
# when they begin, take some time, and fail, or take their process with them, where their split seed says so.
PRELOAD = """
import os, time
from pathlib import Path
from bayes_snn.studies import run_cell as cell_run

real = cell_run._run_logistic  # and not the table's entry: Dask may import this twice


def slow(cell, split, mode):
    with open(os.environ["SWEEP_LOG"], "a") as log:
        log.write(f"{cell.id} {os.getpid()}\\n")
    time.sleep(float(os.environ.get("SWEEP_DELAY", "0")))
    if cell.split_seed == int(os.environ.get("SWEEP_FAIL", "-1")):
        raise RuntimeError("this cell\\nfails")
    if cell.split_seed == int(os.environ.get("SWEEP_DIE", "-1")):
        os._exit(1)
    return real(cell, split, mode)


cell_run._FAMILIES["logistic"] = slow
"""


def worker_environment(folder: Path, **variables: object) -> dict[str, str]:
    """Environment of processes whose Dask workers heed the preload; it is written to a folder beside its log."""
    preload = folder / "preload.py"
    preload.write_text(PRELOAD)
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
        "DASK_DISTRIBUTED__WORKER__PRELOAD": json.dumps([str(preload)]),
        "SWEEP_LOG": str(folder / "begun.txt"),
        **{name: str(value) for name, value in variables.items()},
    }


def start(arguments: list[str], environment: dict[str, str], **options: Any) -> subprocess.Popen[str]:
    """A process in a group of its own, which can be killed as a whole, and heeds Ctrl-C."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # a test run that was started in the background ignores SIGINT, and its children would inherit that
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments], env=environment, start_new_session=True, **pipes, **options
        )
    finally:
        signal.signal(signal.SIGINT, before)


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something is so; a process that has ended before, or a long time, ends the test."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes_with(variable: str) -> list[int]:
    """Ids of the processes that have a variable (name=value) in their environment, zombies aside."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and variable.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return found


def cell_files(output: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of each cell's file."""
    files = [path for path in (output / "cells").glob("*.parquet") if re.fullmatch(r"[0-9a-f]{16}", path.stem)]
    return {path.stem: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def without_times(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that two runs of one study have in common."""
    return rows.drop(columns=list(TIMES))


def made_up_row(cell: Cell, accuracy: float = 0.9, **columns: Any) -> dict[str, Any]:
    """A complete row of a cell."""
    estimates = ("chosen", *DEPLOYABLE, DISTILLED, "ensemble") if cell.method == "mh" else ("chosen",)
    values = dict(zip(SCORES, (accuracy, accuracy - 1.2, 0.05, 0.2), strict=True))
    row = {name: getattr(cell, name) for name in cell.__dataclass_fields__} | {"id": cell.id, "run": "made up"}
    for part in ("train", "test"):
        row |= {f"{part}_{name}_{score}": value for name in estimates for score, value in values.items()}
    defaults = {"chosen": "map", "seconds": 100.0, "n_test": 171, "versions": "{}"}
    if cell.method != "logistic":
        defaults |= {"presentations": 10_000, "passes": 10_000 / cell.n_train, "n_weights": 512}
    return row | defaults | columns


def made_up_study(path: Path, cells: list[Cell], accuracy: Callable[[Cell, np.random.Generator], float]) -> Path:
    """A study's Parquet file with rows of given accuracy: for tests of tables and figures alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    unique = {canonical(cell).id: canonical(cell) for cell in cells}
    rows = [made_up_row(cell, accuracy(cell, rng)) for cell in unique.values()]
    for row in rows:
        if row["method"] == "mh":
            row["presentations"] = row["chains"] * (row["draws"] + row["tune"]) * row["n_train"] * 200
            row["test_mean_accuracy"] = max(0.5, row["test_mean_accuracy"] - 0.1)
        if row["method"] in BACKPROP:
            row["presentations"] = 200 * row["n_train"] * (row["method"] in IN_THE_LOOP)
    pq.write_table(pa.Table.from_pylist(rows, schema=row_schema()), path)
    return path
