"""Which distortions a twin can be learned of, and what a fit with it comes to: python analysis/families.py

One command makes its results, analysis/results/families.parquet: python analysis/families.py --run
Every fit is saved as it ends: the same command continues where it was. As many run at once as there are cores.

Each family is at the strength that `strengths.py` calls strong, drift at one that moves thresholds by some percent in a
fit; then come two compositions. What cannot be learned within the budget is a row too, with the reason.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from atlas import FAMILIES as FROZEN
from atlas import STRENGTHS, strength
from budgets import LABELS, mean_and_interval, measure, split_of_figures
from drawing import Series, accuracy_axis, draw_named, legend
from matplotlib.figure import Figure
from saved import made_by, main_of_rows, run_jobs

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.studies.over_chips import by_chip

FAMILIES: dict[str, dict[str, float]] = {family: {family: strength(family, "strong")} for family in STRENGTHS}
FAMILIES["drift"] = {"drift": 0.3}  # of the logarithm of each threshold within 1,000 runs
FAMILIES["comparator, gain, leak"] = {"comparator": 3.0, "gain": 0.5, "leak": 0.5}
FAMILIES["all frozen ones, mild"] = {family: strength(family, "mild") for family in FROZEN}
CHIPS = range(8)
BUDGETS = {"spikes": 5_000, "counts": 10_000}


def run(rows: list[dict[str, Any]]) -> None:
    """Make the rows that are not there yet, chip by chip."""
    known = {(row["way"], row["family"], row["chip_seed"]) for row in rows}
    wanted = [(way, family, chip) for chip in CHIPS for way in BUDGETS for family in FAMILIES]
    run_jobs("families", rows, [job for job in wanted if job not in known], row_of)


def row_of(way: str, family: str, chip_seed: int) -> dict[str, Any]:
    """The row of one fit, or of why there is none."""
    split, parts = split_of_figures(), FAMILIES[family]
    chip = LIFChip((split.n_inputs, 16, 2), list(parts), list(parts.values()), chip_seed)
    try:
        row = measure(chip, way, BUDGETS[way], split) | {"refused": ""}
    except InputError as error:
        row = {"way": way, "budget": BUDGETS[way], "refused": str(error)}
    return {"family": family, "chip_seed": chip_seed, **row}


def tell(rows: pd.DataFrame) -> str:
    """Means over the chips that were learned, the worst of them, and why the others were not."""
    head = f"{'':<8}{'family':<24}{'learned':>9}{'ensemble':>19}{'worst':>8}{'to learn, at most':>20}{'s':>7}"
    lines = ["test accuracy of the ensemble, breast cancer; means over chips learned, s is a median", ""]
    lines.append(f"{head}{'accepted':>10}{'draws':>7}")
    for (way, family), at in rows.groupby(["way", "family"], sort=False):
        done = at[at["refused"] == ""]
        begin = f"{way:<8}{family:<24}{f'{len(done)} of {len(at)}':>9}"
        if not len(done):
            lines.append(begin)
            continue
        lines.append(
            f"{begin}{mean_and_interval(done['test_ensemble_accuracy']):>19}{done['test_ensemble_accuracy'].min():>8.4f}"
            f"{f'{done["learning"].mean():,.0f}, {done["learning"].max():,.0f}':>20}{done['s'].median():>7.2f}"
            f"{done['accepted'].mean():>10.2f}{(done['chains'] * done['draws']).mean():>7.0f}"
        )
    for (way, family), at in rows[rows["refused"] != ""].groupby(["way", "family"], sort=False):
        lines += ["", f"{family}, from {way}, chips {', '.join(map(str, at['chip_seed']))}: {at['refused'].iloc[0]}"]
    wrong = int((rows["shown"] != rows["told"])[rows["refused"] == ""].sum())
    lines += ["", f"{wrong} fits report another number of presentations than the wrapper counted.", made_by(rows)]
    return "\n".join([*lines, f"{np.nansum(rows['seconds']) / 3600:.2f} hours of one core"])


def draw(rows: pd.DataFrame) -> Figure:
    """Accuracy of each family, learned in either way."""
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    axis = figure.subplots()
    names = [family for family in FAMILIES if (rows["family"] == family).any()]
    drawn = []
    for way, (label, colour, marker) in LABELS.items():
        mine = rows[(rows["way"] == way) & (rows["refused"] == "")]
        values = [by_chip(mine[mine["family"] == family], "test_ensemble_accuracy") for family in names]
        drawn.append((Series(label, way, colour, marker), values))
    draw_named(axis, names, drawn)
    accuracy_axis(axis, float(rows["test_ensemble_accuracy"].min()))
    legend(figure, [axis])
    figure.suptitle("Which chips can be trained on a twin?", x=0.01, ha="left", fontsize=11)
    note = (
        f"Ensembles after {BUDGETS['spikes']:,} presentations with spikes and {BUDGETS['counts']:,} with counts, "
        f"{rows['chip_seed'].nunique()} chips at most, breast cancer: means with 90% intervals; every chip is a dot."
    )
    figure.supxlabel(note, fontsize=7.5, x=0.01, ha="left", color="0.35")
    return figure


if __name__ == "__main__":
    main_of_rows("families", run, draw, tell)
