"""Figure 2, test accuracy against the distortion's strength sigma: python analysis/figure2.py

One command makes its results, analysis/results/figure2.parquet: python analysis/figure2.py --run
It also prints how far one set of weights from MH, found without test data, is from each mode of backprop.
"""

from __future__ import annotations

import pandas as pd
from comparison import difference_tables, headline
from drawing import (
    BACKPROP_MODES,
    DISTILLED,
    LOGISTIC,
    MH,
    accuracy_axis,
    caption,
    count_chips,
    draw_level,
    draw_series,
    legend,
    lowest_value,
    mean_cell,
    per_chip,
    shifts,
)
from matplotlib.figure import Figure
from saved import main

GRIDS = [["--methods", "all", "--distortion", "comparator", "--sigma", "0,3,6,10", "--chips", "0-19"]]
PRINTED = (3.0, 6.0, 10.0)  # strengths whose differences are printed


def draw(rows: pd.DataFrame) -> Figure:
    """Two panels: what MH can deploy, and MH's distilled set against backprop."""
    sigmas = sorted(rows.loc[rows["method"] != "logistic", "sigma"].unique())
    figure = Figure(figsize=(12, 5.0), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    groups = ((left, MH, "What MH can deploy"), (right, (DISTILLED, *BACKPROP_MODES), "MH against backprop"))
    for axis, group, title in groups:
        logistic = LOGISTIC.rows(rows)[LOGISTIC.column]
        if len(logistic):
            draw_level(axis, logistic.mean())
        for series, shift in zip(group, shifts(len(group)), strict=True):
            draw_series(axis, sigmas, per_chip(rows, series, "sigma", sigmas), series, shift)
        axis.set(xlabel="sigma of the comparators (units of the threshold)", xticks=sigmas, title=title)
        accuracy_axis(axis, lowest_value(rows, [*MH, *BACKPROP_MODES]), label=axis is left)
    legend(figure, (left, right))
    sigma = max((s for s in PRINTED if s in sigmas), default=None)
    words = f" at sigma {sigma:g}" if sigma is not None else ""
    at = rows[rows["sigma"] == sigma]
    figure.suptitle(f"{headline(at)}{words} ({count_chips(rows)})", x=0.01, ha="left", fontsize=11)
    figure.supxlabel(caption(rows), fontsize=7.5, x=0.01, ha="left", color="0.35")
    return figure


def tell(rows: pd.DataFrame) -> str:
    """Mean accuracies at every sigma, and paired differences at some."""
    sigmas = sorted(rows.loc[rows["method"] != "logistic", "sigma"].unique())
    lines = ["test accuracy, mean over chips", "sigma".ljust(32) + "".join(f"{sigma:>8g}" for sigma in sigmas)]
    for series in (*MH, *BACKPROP_MODES):
        lines.append(series.label.ljust(32) + "".join(map(mean_cell, per_chip(rows, series, "sigma", sigmas))))
    for sigma in PRINTED:
        at = rows[rows["sigma"] == sigma]
        if len(at):
            lines += difference_tables(at, f"sigma {sigma:g}")
    return "\n".join(lines)


if __name__ == "__main__":
    main("figure2", GRIDS, draw, tell)
