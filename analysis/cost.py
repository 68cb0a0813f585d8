"""Test accuracy against what training costs the chip, in presentations: python analysis/cost.py

One command makes its results, analysis/results/cost.parquet: python analysis/cost.py --run
MH is run with more and more draws, as many in the warm-up; each mode of backprop has one budget of its own.
"""

from __future__ import annotations

import pandas as pd
from drawing import (
    BACKPROP_MODES,
    CHOSEN,
    DISTILLED,
    ENSEMBLE,
    LOGISTIC,
    MH,
    Series,
    accuracy_axis,
    caption,
    count_chips,
    draw_level,
    draw_series,
    legend,
    lowest_value,
    mean_cell,
    shifts,
)
from matplotlib.figure import Figure
from saved import main

from bayes_snn.studies.over_chips import by_chip, mean_interval

GRIDS = [["--methods", "all", "--distortion", "comparator", "--sigma", "3,10", "--chips", "0-19"]]
GRIDS[0] += ["--draws", "10,30,100,300,1000"]


def budgets(rows: pd.DataFrame, series: Series) -> tuple[list[float], list[pd.Series]]:
    """Presentations, a mean over chips for each budget, and each chip's accuracy; distilling takes some more."""
    mine = [group for _, group in series.rows(rows).groupby(["draws", "tune"])]
    columns = ["presentations", "distil_presentations"] if series is DISTILLED else ["presentations"]
    return [float(group[columns].sum(axis=1).mean()) for group in mine], [
        by_chip(group, series.column) for group in mine
    ]


def draw(rows: pd.DataFrame) -> Figure:
    """A panel for each sigma."""
    sigmas = sorted(rows.loc[rows["method"] != "logistic", "sigma"].unique())
    figure = Figure(figsize=(2.0 + 4.3 * len(sigmas), 5.0), layout="constrained")
    panels = figure.subplots(1, len(sigmas), sharex=True, sharey=True, squeeze=False)[0]
    for axis, sigma in zip(panels, sigmas, strict=True):
        at = rows[rows["sigma"] == sigma]
        digital = LOGISTIC.rows(rows)[LOGISTIC.column]
        if len(digital):
            draw_level(axis, digital.mean())
        for series, shift in zip(MH, shifts(len(MH), 2.2), strict=True):
            draw_series(axis, *budgets(at, series), series, shift)
        for series in BACKPROP_MODES:
            shown, values = budgets(at, series)
            if shown and shown[0] > 0:
                draw_series(axis, shown, values, series)
            elif shown:  # it never shows the chip anything, and a logarithmic axis has no zero
                free = Series(f"{series.label} (no presentations)", series.method, series.colour, "")
                interval = mean_interval(values[0])
                draw_level(axis, interval.mean, free)
                axis.axhspan(interval.low, interval.high, color=series.colour, alpha=0.12, lw=0)
                edge = axis.get_yaxis_transform()
                axis.plot([0.01] * interval.n, values[0], ".", ms=4, mew=0, alpha=0.22, c=free.colour, transform=edge)
        axis.set_xscale("log")
        axis.set(xlabel="presentations in training", title=f"sigma {sigma:g}")
        accuracy_axis(axis, lowest_value(rows, [*MH, *BACKPROP_MODES]), label=axis is panels[0])
    legend(figure, panels)
    figure.suptitle(f"{_headline(rows, max(sigmas))} ({count_chips(rows)})", x=0.01, ha="left", fontsize=11)
    words = "A presentation is one sample shown to the chip once.\n"
    figure.supxlabel(words + caption(rows), fontsize=7.5, x=0.01, ha="left", color="0.35")
    return figure


def _headline(rows: pd.DataFrame, sigma: float) -> str:
    """What a tenth of the largest budget, or what is nearest to it, is worth."""
    shown, values = budgets(rows[rows["sigma"] == sigma], CHOSEN)
    if len(shown) < 2:
        return "What training costs the chip"
    last = max(range(len(shown)), key=shown.__getitem__)
    near = min((i for i in range(len(shown)) if i != last), key=lambda i: abs(shown[i] / shown[last] - 0.1))
    lost = 100 * (values[last].mean() - values[near].mean())
    share = shown[near] / shown[last]
    return f"With {share:.0%} of the presentations MH's best single set is {lost:.1f} points lower at sigma {sigma:g}"


def tell(rows: pd.DataFrame) -> str:
    """Presentations and mean accuracies at every budget."""
    lines = ["test accuracy, mean over chips"]
    for sigma in sorted(rows.loc[rows["method"] != "logistic", "sigma"].unique()):
        at = rows[rows["sigma"] == sigma]
        lines += ["", f"sigma {sigma:g}"]
        for title, series in (("presentations", ENSEMBLE), ("presentations, distilled", DISTILLED)):
            lines.append(title.ljust(32) + "".join(f"{n:>14,.0f}" for n in budgets(at, series)[0]))
        for series in MH:
            _, values = budgets(at, series)
            lines.append(series.label.ljust(32) + "".join(mean_cell(each, 14) for each in values))
        for series in BACKPROP_MODES:
            for n, each in zip(*budgets(at, series), strict=True):
                lines.append(f"{series.label:<32}{each.mean():>14.3f} with {n:,.0f} presentations")
    return "\n".join(lines)


if __name__ == "__main__":
    main("cost", GRIDS, draw, tell)
