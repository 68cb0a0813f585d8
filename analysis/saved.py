"""How a figure's script gets its rows: from analysis/results, or, with --run, from a sweep that it starts.

    python analysis/figure2.py          draw the figure from the saved results
    python analysis/figure2.py --run    make the results first; what follows --run goes to the sweep, for example
                                        --run --scheduler tcp://10.0.0.1:8786

A sweep that was interrupted goes on with the same command.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from drawing import STYLE
from matplotlib.figure import Figure

from bayes_snn.errors import InputError
from bayes_snn.sweep_folder import read_sweep

ANALYSIS = Path(__file__).parent
RESULTS, FIGURES, SWEEPS = ANALYSIS / "results", ANALYSIS / "figures", Path("sweeps")


def main(
    name: str,
    grids: Sequence[Sequence[str]],
    draw: Callable[[pd.DataFrame], Figure],
    tell: Callable[[pd.DataFrame], str],
) -> None:
    """The command of a figure's script: `grids` are options of the sweep, `draw` makes the figure, `tell` its table."""
    try:
        if sys.argv[1:2] == ["--run"]:
            run(name, [[*grid, *sys.argv[2:]] for grid in grids])
        elif sys.argv[1:]:
            raise InputError(f"{sys.argv[1]} came, but only --run is known: leave it out to draw the saved results.")
        rows = load(name)
        print(f"{name}\n\n{tell(rows)}\n\n{cost(rows)}")
        with mpl.rc_context(STYLE):
            save(draw(rows), name)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


def load(name: str) -> pd.DataFrame:
    """The saved rows of a figure; cells that failed are told and left out."""
    path = RESULTS / f"{name}.parquet"
    if not path.exists():
        raise InputError(f"There are no results {path}: make them with 'python analysis/{name}.py --run'.")
    rows = read_sweep(path)
    if failed := int(rows["error"].notna().sum()):
        print(f"{failed} of {len(rows)} cells failed and are left out, the first: {rows['error'].dropna().iloc[0]}")
    return rows[rows["error"].isna()].reset_index(drop=True)


def run(name: str, grids: Sequence[Sequence[str]]) -> None:
    """Run the sweep of a figure and save its rows; cells that any figure's saved results hold are not run again."""
    output = SWEEPS / name
    saved = sorted(RESULTS.glob("*.parquet"))
    adopted = ["--adopt", ",".join(map(str, saved))] if saved else []
    for grid in grids:
        code = subprocess.call([sys.executable, "-m", "bayes_snn.sweep", "--output", str(output), *adopted, *grid])
        if code:
            sys.exit(code)
    RESULTS.mkdir(exist_ok=True)
    shutil.copyfile(output / "sweep.parquet", RESULTS / f"{name}.parquet")


def save(figure: Figure, name: str) -> None:
    """Write a figure as PNG and SVG; the same rows give the same files."""
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / f"{name}.png", dpi=160, metadata={"Software": None})
    figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None, "Creator": None})


def cost(rows: pd.DataFrame) -> str:
    """What the rows took to make."""
    hours = rows["seconds"].sum() / 3600
    return f"{len(rows)} cells took {hours:.2f} hours of one core: {hours / 2:.2f} hours on 2 cores."
