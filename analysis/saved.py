"""How a figure's script gets its rows: from analysis/results, or, with --run, from a study that it starts.

    python analysis/figure2.py          draw the figure from the saved results
    python analysis/figure2.py --run    make the results first; what follows --run goes to the study, for example
                                        --run --scheduler tcp://10.0.0.1:8786

A study that was interrupted continues with the same command.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from drawing import STYLE
from matplotlib.figure import Figure

import bayes_snn
from bayes_snn import __version__
from bayes_snn.errors import InputError
from bayes_snn.files import write_then_rename
from bayes_snn.studies.cluster import cpu_count
from bayes_snn.studies.folder import holds_study, mixed_versions, read_study

ANALYSIS = Path(__file__).parent
RESULTS, FIGURES, STUDIES = ANALYSIS / "results", ANALYSIS / "figures", Path("sweeps")


def main(
    name: str,
    grids: Sequence[Sequence[str]],
    draw: Callable[[pd.DataFrame], Figure],
    tell: Callable[[pd.DataFrame], str],
) -> None:
    """The command of a figure's script: `grids` are options of the study, `draw` makes the figure, `tell` its table."""

    def make(options: list[str]) -> None:
        run(name, [[*grid, *options] for grid in grids])

    command(name, make, load, draw, lambda rows: f"{tell(rows)}\n\n{cost(rows)}")


def main_of_rows(
    name: str,
    make: Callable[[list[dict[str, Any]]], None],
    draw: Callable[[pd.DataFrame], Figure],
    tell: Callable[[pd.DataFrame], str],
) -> None:
    """The same for a script whose rows are no study's: `make` gets those that this version made, and keeps more by
    `keep_rows`."""

    def make_rows(options: list[str]) -> None:
        if options:
            raise InputError(f"{options[0]} came after --run, which takes nothing more here: leave it out.")
        path = rows_file(name)
        rows = pd.read_parquet(path).to_dict("records") if path.exists() else []
        make([row for row in rows if row.get("version") == __version__])  # draws may differ between versions

    command(name, make_rows, lambda name: pd.read_parquet(results(name)), draw, tell)


def keep_rows(name: str, rows: list[dict[str, Any]]) -> None:
    """Save the rows so far of a script whose rows are no study's, with the version and the code that made each."""
    RESULTS.mkdir(exist_ok=True)
    made = {"version": __version__, "code": code_digest()}
    table = pd.DataFrame([{**made, **row} for row in rows])
    write_then_rename(rows_file(name), partial(table.to_parquet, index=False))


def run_jobs(
    name: str, rows: list[dict[str, Any]], jobs: Sequence[tuple[Any, ...]], measure: Callable[..., dict[str, Any]]
) -> None:
    """Append the row of each job, `measure(*job)`, as many at a time as there are cores; saved as each ends.

    `measure` is a function of a module, for other processes call it.
    """
    code_digest()  # of the code as the first of them finds it
    # new interpreters: kernels and PyTensor are not made to be forked
    with ProcessPoolExecutor(cpu_count(), get_context("spawn")) as pool:
        running = {pool.submit(measure, *job): job for job in jobs}
        for done, future in enumerate(as_completed(running), 1):
            rows.append(future.result())
            keep_rows(name, rows)
            words = ", ".join(map(str, running[future]))
            print(f"{time.strftime('%H:%M:%S')} {done} of {len(jobs)}: {words}", flush=True)


@cache
def code_digest() -> str:
    """12 hexadecimal digits of all source files of the package and its models that have a part in draws."""
    package, digest = Path(bayes_snn.__file__).parent, hashlib.sha256()
    folders = [package / part for part in ("chips", "twins", "posterior", "samplers", "inference", "estimates")]
    files = sorted(path for folder in [*folders, package.parent / "models"] for path in folder.rglob("*.py"))
    for path in [*files, package / "likelihood.py"]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def made_by(rows: pd.DataFrame) -> str:
    """Which version, and how many states of its code, made rows, in words."""
    codes = rows["code"].nunique() if "code" in rows else 0
    return f"Made by bayes_snn {', '.join(sorted(rows['version'].unique()))}, {codes} states of its code."


def command(
    name: str,
    make: Callable[[list[str]], None],
    read: Callable[[str], pd.DataFrame],
    draw: Callable[[pd.DataFrame], Figure],
    tell: Callable[[pd.DataFrame], str],
) -> None:
    """Make the results if --run came, which what follows it goes to; then print their table and draw them."""
    try:
        if sys.argv[1:2] == ["--run"]:
            make(sys.argv[2:])
        elif sys.argv[1:]:
            raise InputError(f"{sys.argv[1]} came, but only --run is known: leave it out to draw the saved results.")
        rows = read(name)
        print(f"{name}\n\n{tell(rows)}")
        with mpl.rc_context(STYLE):
            save(draw(rows), name)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


def rows_file(name: str) -> Path:
    """Where the rows of a figure are saved."""
    return RESULTS / f"{name}.parquet"


def results(name: str) -> Path:
    """The file with the saved rows of a figure; an `InputError` where there is none."""
    path = rows_file(name)
    if not path.exists():
        raise InputError(f"There are no results {path}: make them with 'python analysis/{name}.py --run'.")
    return path


def load(name: str) -> pd.DataFrame:
    """The saved rows of a study's figure; cells that failed are left out; that, and several versions, is printed."""
    rows = read_study(results(name))
    if failed := int(rows["error"].notna().sum()):
        print(f"{failed} of {len(rows)} cells failed and are left out, the first: {rows['error'].dropna().iloc[0]}")
    if (note := mixed_versions(rows)) is not None:
        print(note)
    return rows[rows["error"].isna()].reset_index(drop=True)


def run(name: str, grids: Sequence[Sequence[str]]) -> None:
    """Run the study of a figure and save its rows; cells that any figure's saved results of this version
    hold are not run again."""
    output = STUDIES / name
    saved = [path for path in sorted(RESULTS.glob("*.parquet")) if holds_study(path)]
    adopted = ["--adopt", ",".join(map(str, saved))] if saved else []
    for grid in grids:
        code = subprocess.call([sys.executable, "-m", "bayes_snn.sweep", "--output", str(output), *adopted, *grid])
        if code:
            sys.exit(code)
    RESULTS.mkdir(exist_ok=True)
    shutil.copyfile(output / "sweep.parquet", rows_file(name))


def save(figure: Figure, name: str) -> None:
    """Write a figure as PNG and SVG; the same rows give the same files."""
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / f"{name}.png", dpi=160, metadata={"Software": None})
    figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None, "Creator": None})


def cost(rows: pd.DataFrame) -> str:
    """What the rows took to make."""
    hours = rows["seconds"].sum() / 3600
    return f"{len(rows)} cells took {hours:.2f} hours of one core: {hours / 2:.2f} hours on 2 cores."
