"""The atlas: families of distortions at comparable strengths, and who wins where: python analysis/atlas.py

One command makes its results, analysis/results/atlas.parquet: python analysis/atlas.py --run
`strengths.py` says what comparable means, and measures it.
"""

from __future__ import annotations

import pandas as pd
from drawing import (
    BACKPROP_MODES,
    CHOSEN,
    DISTILLED,
    ENSEMBLE,
    LOGISTIC,
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

from bayes_snn.studies.over_chips import by_chip, difference_over_chips

LEVELS = ("mild", "medium", "strong")
# sigma at which weights made for the ideal chip lose a tenth, a third and two thirds of what they know, or near it
STRENGTHS: dict[str, tuple[float, float, float]] = {
    "comparator": (0.5, 0.9, 2.1),
    "current": (1.4, 3.0, 6.2),
    "threshold": (0.55, 1.1, 2.7),
    "leak": (0.85, 2.2, 5.0),  # at the last no more than half is lost, nor at any other
    "gain": (0.65, 1.2, 2.2),
    "stuck": (0.17, 0.4, 0.6),
    "silent": (0.2, 0.3, 0.65),  # 0.06, 0.55 and 0.74: from a quarter on, one of the two output neurons is silent
    "quantisation": (4.0, 3.0, 2.0),  # bits; 0.01, 0.04 and 0.36
    "noise": (1.2, 2.6, 5.1),
}
CHIPS = {"medium": "0-7", "strong": "0-7"}  # of the levels that are run; mild would cost half as much again
# a noisy chip is run whole for every proposal, and answers twice for it: a fit that trains it takes half an hour
FAMILIES = [name for name in STRENGTHS if name != "noise"]


def strength(family: str, level: str) -> float:
    """Sigma of a family at a level."""
    return STRENGTHS[family][LEVELS.index(level)]


def grid(level: str) -> list[str]:
    """Options of the study over all families at one level."""
    distortions = ",".join(f"{family}:{strength(family, level):g}" for family in FAMILIES)
    return ["--methods", "all", "--chips", CHIPS[level], "--distortion", distortions, "--draws", "300"]


GRIDS = [grid(level) for level in CHIPS]
COMPETITORS = (CHOSEN, *BACKPROP_MODES)  # each is one set of weights on the chip; an ensemble is many


def cells(rows: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """Rows of each family and level that are there."""
    found = {}
    for family, sigmas in STRENGTHS.items():
        for level, sigma in zip(LEVELS, sigmas, strict=True):
            at = rows[(rows["distortion"] == family) & (rows["sigma"] == sigma)]
            if len(at):
                found[family, level] = at
    return found


def winner(rows: pd.DataFrame) -> tuple[Series, bool] | None:
    """The single set of weights with the best mean, and whether it is apart from the second (90%, paired)."""
    values = {series: by_chip(series.rows(rows), series.column) for series in COMPETITORS}
    ranked = sorted((s for s in COMPETITORS if len(values[s])), key=lambda s: values[s].mean(), reverse=True)
    if not ranked:
        return None
    apart = len(ranked) > 1 and difference_over_chips(values[ranked[0]], values[ranked[1]]).low > 0
    return ranked[0], apart


def draw(rows: pd.DataFrame) -> Figure:
    """A panel for each family; below each strength the winner's name, in brackets where it is not apart."""
    there = cells(rows)
    families = [family for family in STRENGTHS if any(family == name for name, _ in there)]
    columns = [level for level in LEVELS if any(level == name for _, name in there)]
    n_rows = -(-len(families) // 3)
    figure = Figure(figsize=(11, 1.6 + 2.9 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, 3, sharey=True, squeeze=False).ravel()
    drawn = (DISTILLED, CHOSEN, ENSEMBLE, *BACKPROP_MODES)
    lowest = lowest_value(rows, drawn)
    for axis, family in zip(panels, families, strict=False):
        levels = [level for level in LEVELS if (family, level) in there]
        digital = LOGISTIC.rows(rows)[LOGISTIC.column]
        if len(digital):
            draw_level(axis, digital.mean())
        places = [columns.index(level) for level in levels]
        for series, shift in zip(drawn, shifts(len(drawn), 4.0), strict=True):
            values = [by_chip(series.rows(there[family, level]), series.column) for level in levels]
            draw_series(axis, places, values, series, shift)
        labels = []
        for level in levels:
            won = winner(there[family, level])
            name = won[0].method.removeprefix("backprop-") if won else "-"
            shown = name if won and won[1] else f"({name})"
            labels.append(f"{level} {strength(family, level):g}\n{shown}")
        axis.set_xticks(places, labels)
        axis.set_xlim(-0.5, len(columns) - 0.5)
        axis.set_title(family)
        accuracy_axis(axis, lowest, label=axis in panels[::3])
    for axis in panels[len(families) :]:
        axis.set_visible(False)
    legend(figure, panels)
    figure.suptitle(f"{_headline(there)} ({count_chips(rows)})", x=0.01, ha="left", fontsize=11)
    words = (
        "Below each strength: the best single set of weights, in brackets where not apart from the second (90%).\n"
        "MH with 300 draws and as many to warm up. "
    )
    figure.supxlabel(words + caption(rows), fontsize=7.5, x=0.01, ha="left", color="0.35")
    return figure


def _headline(there: dict[tuple[str, str], pd.DataFrame]) -> str:
    won = [found for at in there.values() if (found := winner(at)) is not None]
    mh = [apart for series, apart in won if series is CHOSEN]
    return f"MH's best single set has the highest mean on {len(mh)} of {len(won)} kinds of chips, apart on {sum(mh)}"


def tell(rows: pd.DataFrame) -> str:
    """Mean accuracies for every family and level, and the winner."""
    drawn = (DISTILLED, CHOSEN, ENSEMBLE, *BACKPROP_MODES)
    names = ("distilled", "mh set", "mh ens.", "offline", "outputs", "spikes", "noise-aw.")
    lines = ["test accuracy, mean over chips; * where the best single set is apart from the second (90%, paired)"]
    lines.append(
        f"{'family':<14}{'level':<8}{'sigma':>6}" + "".join(f"{name:>10}" for name in names) + "  best single set"
    )
    for (family, level), at in cells(rows).items():
        means = [mean_cell(by_chip(series.rows(at), series.column), 10) for series in drawn]
        won = winner(at)
        best = f"{won[0].method.removeprefix('backprop-')}{' *' if won[1] else ''}" if won else "-"
        sigma = strength(family, level)
        lines.append(f"{family:<14}{level:<8}{sigma:>6g}" + "".join(means) + f"  {best}")
    return "\n".join(lines)


if __name__ == "__main__":
    main("atlas", GRIDS, draw, tell)
