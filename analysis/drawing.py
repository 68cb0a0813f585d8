"""What the figures have in common: a colour and a marker for each method, means with intervals, chips as faint dots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_snn.studies.cells import BACKPROP
from bayes_snn.studies.over_chips import by_chip, mean_interval

# set around the drawing and the saving of a figure, for these settings are of the whole process
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "bayes_snn",  # so that an SVG drawn again is the same file
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Series:
    """A line of a figure: the rows of a method, and which of its estimates."""

    label: str
    method: str
    colour: str
    marker: str
    estimate: str = "chosen"

    @property
    def column(self) -> str:
        return f"test_{self.estimate}_accuracy"

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        return table[table["method"] == self.method]


# Okabe and Ito's colours, which people with any kind of colour vision can tell apart, and three darker ones
DISTILLED = Series("MH distilled, one set", "mh", "#000000", "o", "distilled")
CHOSEN = Series("MH, best of mean, map, medoid", "mh", "#999933", "P")
ENSEMBLE = Series("MH ensemble", "mh", "#0072B2", "s", "ensemble")
MH = (
    DISTILLED,
    ENSEMBLE,
    CHOSEN,
    Series("MH mean (paper's W*)", "mh", "#56B4E9", "v", "mean"),
    Series("MH map", "mh", "#009E73", "^", "map"),
    Series("MH medoid", "mh", "#CC79A7", "D", "medoid"),
)
BACKPROP_MODES = tuple(
    Series(method.replace("-", ", ", 1), method, colour, marker)
    for method, colour, marker in zip(
        BACKPROP, ("#D55E00", "#E69F00", "#117733", "#882255", "#332288"), "v^Dsp", strict=True
    )
)
LOGISTIC = Series("logistic regression (digital)", "logistic", "#7f7f7f", "")


def draw_series(axis: Axes, x: Sequence[float], values: Sequence[pd.Series], series: Series, shift: float = 0.0):
    """Draw one series: `values` holds, for each x, a value for each chip; `shift` moves it aside, as wide as a marker.

    Returns the height of its last mean, for a label.
    """
    emphasis = series is DISTILLED
    kept = [(place, each) for place, each in zip(x, values, strict=True) if len(each)]
    if not kept:
        return None
    offset = mpl.transforms.ScaledTranslation(shift / 72, 0, axis.figure.dpi_scale_trans)
    moved = axis.transData + offset
    for place, each in kept:
        axis.plot([place] * len(each), each, ".", ms=4, mew=0, alpha=0.22, color=series.colour, transform=moved)
    intervals = [mean_interval(each) for _, each in kept]
    places, means = [place for place, _ in kept], np.array([interval.mean for interval in intervals])
    ends = np.array([[i.mean - i.low, i.high - i.mean] for i in intervals]).T
    axis.errorbar(
        places,
        means,
        np.nan_to_num(ends),
        color=series.colour,
        marker=series.marker,
        ms=5 if emphasis else 4,
        lw=2.0 if emphasis else 1.2,
        elinewidth=1.4,
        capsize=2,
        zorder=4 if emphasis else 3,
        transform=moved,
        label=series.label,
    )
    axis.update_datalim(np.column_stack([np.repeat(places, 2), np.concatenate([[e.min(), e.max()] for _, e in kept])]))
    return float(means[-1])


def draw_named(axis: Axes, names: Sequence[str], drawn: Sequence[tuple[Series, Sequence[pd.Series]]]) -> None:
    """Draw series side by side over places with names; each has, for each name, a value for each chip."""
    for (series, values), shift in zip(drawn, shifts(len(drawn)), strict=True):
        draw_series(axis, range(len(names)), values, series, shift)
    axis.set_xticks(range(len(names)), names, rotation=30, ha="right")


def draw_level(axis: Axes, value: float, series: Series = LOGISTIC) -> None:
    """A dashed line at a value that does not depend on x."""
    axis.axhline(value, color=series.colour, ls=(0, (4, 3)), lw=1.1, zorder=1, label=series.label)


def legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend beside all panels, where it covers no chip."""
    found = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(list(found.values()), list(found), loc="outside right upper", fontsize=8)


def per_chip(rows: pd.DataFrame, series: Series, by: str, x: Sequence[float]) -> list[pd.Series]:
    """For each x, the series' value of each chip."""
    mine = series.rows(rows)
    return [by_chip(mine[mine[by] == value], series.column) for value in x]


def mean_cell(values: pd.Series, width: int = 8) -> str:
    """A mean over chips for a table; blank where it was not measured."""
    return f"{values.mean():>{width}.3f}" if len(values) else " " * width


def shifts(n: int, step: float = 2.6) -> list[float]:
    """Offsets in points that lay n series side by side."""
    return [step * (i - (n - 1) / 2) for i in range(n)]


def accuracy_axis(axis: Axes, lowest: float, label: bool = True) -> None:
    """An axis of accuracy from just below the lowest value to 1."""
    axis.set_ylim(max(0.0, lowest - 0.03), 1.01)
    axis.grid(axis="y", color="0.92", lw=0.8)
    axis.set_axisbelow(True)
    if label:
        axis.set_ylabel("test accuracy")


def lowest_value(rows: pd.DataFrame, series: Sequence[Series]) -> float:
    """The lowest accuracy of any chip in any of the series."""
    return min((float(each.rows(rows)[each.column].min()) for each in series if len(each.rows(rows))), default=0.5)


def count_chips(rows: pd.DataFrame) -> str:
    """How many chips the means are over, in words."""
    means = ["method", "distortion", "sigma", "n_train", "draws"]
    numbers = rows[rows["method"] != "logistic"].groupby(means)["chip_seed"].nunique()
    low, high = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
    return f"{high} chips" if low == high else f"{low} to {high} chips"


def caption(rows: pd.DataFrame) -> str:
    """The line below every figure."""
    splits = sorted(rows["split_seed"].unique())
    on_chip = rows[rows["method"] != "logistic"]
    own = len(splits) > 1 and (on_chip["split_seed"] == on_chip["chip_seed"]).all()
    words = "each with a split of its own" if own else f"split{'s' * (len(splits) > 1)} {', '.join(map(str, splits))}"
    return (
        f"{count_chips(rows)}, {words}: means with 90% "
        "intervals over chips (Student's t); every chip is a faint dot.\n"
        "MH distilled: one set of weights trained to answer as the ensemble does. "
        "Best of mean, map, medoid: by log score on the training samples."
    )
