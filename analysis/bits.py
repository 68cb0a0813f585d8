"""Test accuracy against bits of the weights, at sigma 3 of the comparators: python analysis/bits.py

One command makes its results, analysis/results/bits.parquet: python analysis/bits.py --run
Every fit is saved as it ends: the same command continues where it was.

grid         MH on the grid of the chip's levels (models/grid.py)
continuous   MH with continuous weights, on the chip that rounds them
rounded      MH with continuous weights on the chip without rounding; what it found is then rounded to the grid
float        the same, not rounded: the chip that it was found on
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pandas as pd
from drawing import Series, accuracy_axis, draw_series, legend, shifts
from matplotlib.figure import Figure
from saved import keep_rows, main_of_rows

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.data import Split, load_data, split_data
from bayes_snn.estimates.predict import DEPLOYABLE, choose_deployable
from bayes_snn.inference.fit import fit
from bayes_snn.inference.result import FitResult
from bayes_snn.studies.over_chips import by_chip, difference_over_chips, over_chips
from bayes_snn.studies.run_cell import score_columns

CHIPS, BITS, SIGMA = range(10), (2, 3, 4, 6, 8), 3.0
LATER = (("grid", 2), ("grid", 3), ("continuous", 4), ("grid", 8), ("grid", 6), ("continuous", 2))
SETTINGS = {"draws": 200, "tune": 300, "chains": 2, "seed": 0}  # of every fit alike
LABELS = {
    "grid": ("MH on the grid", "#000000", "o"),
    "continuous": ("MH off the grid, chip rounds", "#0072B2", "s"),
    "rounded": ("MH without rounding, rounded after it", "#D55E00", "v"),
    "float": ("MH without rounding", "#7f7f7f", ""),
}
ESTIMATES = {"ensemble": "ensemble", "chosen": "best single set", "mean": "mean", "map": "map", "medoid": "medoid"}


def run(rows: list[dict[str, Any]]) -> None:
    """Make the rows that are not there yet, those that matter most first."""
    split = split_data(load_data("breast_cancer"), n_train=398, seed=0)
    known = {(row["method"], row["chip_seed"], row["bits"]) for row in rows}
    fits = [(method, chip, bits) for chip in CHIPS for method, bits in (("float", 0), ("grid", 4))]
    fits += [(method, chip, bits) for method, bits in LATER for chip in CHIPS]
    for method, chip_seed, bits in fits:
        if (method, chip_seed, bits) not in known:
            rows += measure(method, chip_seed, bits, split)
            keep_rows("bits", rows)
            print(f"{time.strftime('%H:%M:%S')} {method}, chip {chip_seed}, {bits} bits", flush=True)


def measure(method: str, chip_seed: int, bits: int, split: Split) -> list[dict[str, Any]]:
    """The row of a fit; `float` has the rows of its rounding with it."""
    chip = make_chip(chip_seed, bits)
    prior = "grid" if method == "grid" else "gaussian"
    result = fit(chip, split.train_inputs, split.train_labels, prior, sampler="sitewise", cores=1, **SETTINGS)
    rows = [row(result, method, chip_seed, bits, split)]
    if method == "float":
        for fewer in BITS:
            rounding = dataclasses.replace(result, chip=make_chip(chip_seed, fewer))
            rows.append(row(rounding, "rounded", chip_seed, fewer, split))
    return rows


def make_chip(chip_seed: int, bits: int) -> LIFChip:
    """A chip with distorted comparators, and weights of so many bits (0 for analog ones)."""
    return LIFChip((30, 16, 2), ["comparator", "quantisation"], [SIGMA, bits], chip_seed)


def row(result: FitResult, method: str, chip_seed: int, bits: int, split: Split) -> dict[str, Any]:
    """Scores of every estimate on the result's chip; `chosen` is the single set with the best log score in training."""
    train = result.evaluate(split.train_inputs, split.train_labels)
    test = result.evaluate(split.test_inputs, split.test_labels)
    chosen = choose_deployable({name: train[name]["log_score"] for name in DEPLOYABLE})
    scores: dict[str, float] = {}
    for part, each in (("train", train), ("test", test)):
        scores |= score_columns(part, {**each, "chosen": each[chosen]})
    row = {"method": method, "chip_seed": chip_seed, "bits": bits, "chosen": chosen, **SETTINGS, "split_seed": 0}
    return {**row, **scores, "passes": result.passes, "seconds": result.seconds}


def accuracies(rows: pd.DataFrame, method: str, bits: int, estimate: str) -> pd.Series:
    """Test accuracy of each chip; `float` is the same at all bits."""
    chosen = rows[(rows["method"] == method) & ((rows["bits"] == bits) | (method == "float"))]
    return by_chip(chosen, f"test_{estimate}_accuracy")


def tell(rows: pd.DataFrame) -> str:
    """Means over chips with 90% intervals, and what the grid gains, chip by chip, in points."""
    lines = [f"test accuracy, comparator sigma {SIGMA:g}, {rows['chip_seed'].nunique()} chips, {SETTINGS}"]
    for estimate, title in ESTIMATES.items():
        lines += ["", title.ljust(40) + "".join(f"{bits:>11} bits" for bits in BITS)]
        for method, (label, _, _) in LABELS.items():
            cells = []
            for bits in BITS:
                at = rows[(rows["method"] == method) & ((rows["bits"] == bits) | (method == "float"))]
                interval = over_chips(at, f"test_{estimate}_accuracy")
                cells.append(f"{interval.mean:.3f} +- {interval.high - interval.mean:.3f}" if interval.n else "")
            lines.append(label.ljust(40) + "".join(f"{cell:>16}" for cell in cells))
        for method in ("float", "rounded", "continuous"):
            for bits in BITS:
                grid, other = (accuracies(rows, name, bits, estimate) for name in ("grid", method))
                d = difference_over_chips(100 * grid, 100 * other)
                if d.n:
                    lines.append(
                        f"  grid minus {method}, {bits} bits: {d.mean:+.1f} [{d.low:+.1f}, {d.high:+.1f}] points"
                    )
    hours = rows["seconds"][rows["method"] != "rounded"].sum() / 3600
    return "\n".join([*lines, "", f"{hours:.2f} hours of one core"])


def draw(rows: pd.DataFrame) -> Figure:
    """Two panels: the ensemble, and the best single set."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    lowest = float(rows[["test_ensemble_accuracy", "test_chosen_accuracy"]].min().min())
    for axis, estimate in zip(panels, ("ensemble", "chosen"), strict=True):
        for (method, (label, colour, marker)), shift in zip(LABELS.items(), shifts(len(LABELS)), strict=True):
            values = [accuracies(rows, method, bits, estimate) for bits in BITS]
            draw_series(axis, BITS, values, Series(label, method, colour, marker, estimate), shift)
        axis.set(xlabel="bits of a weight", xticks=BITS, title=ESTIMATES[estimate].capitalize())
        accuracy_axis(axis, lowest, label=axis is panels[0])
    legend(figure, panels)
    grid, floating = (accuracies(rows, name, 4, "ensemble") for name in ("grid", "float"))
    d = difference_over_chips(100 * grid, 100 * floating)
    words = f"MH on a grid of 4 bits is {d.mean:+.1f} [{d.low:+.1f}, {d.high:+.1f}] points from MH without rounding"
    figure.suptitle(f"{words} (ensemble, {d.n} chips)", x=0.01, ha="left", fontsize=11)
    note = (
        f"Comparators distorted by sigma {SIGMA:g}, {rows['chip_seed'].nunique()} chips, split 0, "
        f"{SETTINGS['chains']} chains of {SETTINGS['tune']} warm-up and {SETTINGS['draws']} kept draws: means with 90% "
        "intervals over chips (Student's t); every chip is a faint dot."
    )
    figure.supxlabel(note, fontsize=7.5, x=0.01, ha="left", color="0.35")
    return figure


if __name__ == "__main__":
    main_of_rows("bits", run, draw, tell)
