"""Figure 3, test accuracy against the number of training samples: python analysis/figure3.py

One command makes its results, analysis/results/figure3.parquet: python analysis/figure3.py --run
"""

from __future__ import annotations

import pandas as pd
from comparison import difference_tables, fewer_samples_lines, headline
from drawing import (
    BACKPROP_MODES,
    DISTILLED,
    LOGISTIC,
    MH,
    accuracy_axis,
    caption,
    count_chips,
    draw_series,
    legend,
    lowest_value,
    mean_cell,
    per_chip,
    shifts,
)
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter
from saved import main

# each chip has training samples of its own: which few they are matters more than the chip
COMMON = ["--methods", "all", "--distortion", "comparator", "--splits", "chip", "--n-train", "10,40,100,398"]
GRIDS = [[*COMMON, "--sigma", "3", "--chips", "0-19"], [*COMMON, "--sigma", "0", "--chips", "0-9"]]


def draw(rows: pd.DataFrame) -> Figure:
    """A row of two panels for each sigma: what MH can deploy, and MH's distilled set against backprop."""
    on_chip = rows[rows["method"] != "logistic"]
    sigmas, numbers = sorted(on_chip["sigma"].unique()), sorted(on_chip["n_train"].unique())
    figure = Figure(figsize=(12, 0.9 + 3.6 * len(sigmas)), layout="constrained")
    panels = figure.subplots(len(sigmas), 2, sharex=True, sharey=True, squeeze=False)
    for pair, sigma in zip(panels, sigmas, strict=True):
        at = rows[(rows["sigma"] == sigma) | (rows["method"] == "logistic")]
        chip = "the ideal chip" if sigma == 0 else f"sigma {sigma:g}"
        groups = ((MH, f"What MH can deploy, {chip}"), ((DISTILLED, *BACKPROP_MODES), f"MH against backprop, {chip}"))
        for axis, (group, title) in zip(pair, groups, strict=True):
            digital = [each.mean() for each in per_chip(rows, LOGISTIC, "n_train", numbers)]
            axis.plot(numbers, digital, color=LOGISTIC.colour, ls=(0, (4, 3)), lw=1.1, label=LOGISTIC.label)
            for series, shift in zip(group, shifts(len(group)), strict=True):
                draw_series(axis, numbers, per_chip(at, series, "n_train", numbers), series, shift)
            axis.set_xscale("log")
            axis.set_xticks(numbers)
            axis.xaxis.set_major_formatter(ScalarFormatter())
            axis.xaxis.set_minor_locator(NullLocator())
            axis.set_title(title)
            accuracy_axis(axis, lowest_value(rows, [*MH, *BACKPROP_MODES]), label=axis is pair[0])
    for axis in panels[-1]:
        axis.set_xlabel("training samples")
    legend(figure, panels[::-1].ravel())  # from the last row, in which all are
    most = rows[rows["sigma"] == max(sigmas)]
    fewest = most[most["n_train"] == min(numbers)]
    words = f"at sigma {max(sigmas):g} with {min(numbers)} training samples ({count_chips(fewest)})"
    figure.suptitle(f"{headline(fewest)},\n{words}", x=0.01, ha="left", fontsize=11)
    figure.supxlabel(caption(rows), fontsize=7.5, x=0.01, ha="left", color="0.35")
    return figure


def tell(rows: pd.DataFrame) -> str:
    """Mean accuracies at every number of samples, and paired differences."""
    on_chip = rows[rows["method"] != "logistic"]
    numbers, lines = sorted(on_chip["n_train"].unique()), []
    for sigma in sorted(on_chip["sigma"].unique()):
        at = rows[rows["sigma"] == sigma]
        lines += [f"sigma {sigma:g}: test accuracy, mean over chips"]
        lines += ["training samples".ljust(32) + "".join(f"{number:>8}" for number in numbers)]
        for series in (*MH, *BACKPROP_MODES, LOGISTIC):
            values = per_chip(rows if series is LOGISTIC else at, series, "n_train", numbers)
            lines.append(series.label.ljust(32) + "".join(map(mean_cell, values)))
        for number in numbers:
            lines += difference_tables(at[at["n_train"] == number], f"sigma {sigma:g}, {number} samples")
        lines += ["", f"sigma {sigma:g}: MH ensemble with fewer samples, minus backprop in the loop with {numbers[-1]}"]
        lines += [*fewer_samples_lines(at), ""]
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    main("figure3", GRIDS, draw, tell)
