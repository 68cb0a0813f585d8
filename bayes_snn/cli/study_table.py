"""The closing table of a study: test accuracy over chips."""

from __future__ import annotations

import math

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from bayes_snn.estimates.predict import DEPLOYABLE, DISTILLED
from bayes_snn.studies.cells import IDENTITY, METHODS
from bayes_snn.studies.over_chips import Interval, over_chips

GROUP = ["method", "distortion", "sigma", "n_train"]
SETTINGS = [name for name in IDENTITY if name not in (*GROUP, "chip_seed", "split_seed")]
ESTIMATES = ("chosen", *DEPLOYABLE, DISTILLED, "ensemble")


def table_over_chips(rows: pd.DataFrame) -> Table:
    """A line for each method, chip family, strength and number of samples; MH has one for each of its estimates."""
    varying = [name for name in SETTINGS if len(rows) and rows.groupby("method")[name].nunique().max() > 1]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))  # to fit into a window of 80
    for header in ("method", "distortion"):
        table.add_column(header, no_wrap=True)
    for header in ("sigma", "n_train", *varying, "chips", "accuracy", "± 90%"):
        table.add_column(header, justify="right", no_wrap=True)
    place = {method: i for i, method in enumerate(METHODS)}
    groups = sorted(rows.groupby([*GROUP, *varying]), key=lambda item: (item[0][1:4], place[item[0][0]], item[0][4:]))
    for i, ((method, distortion, sigma, n_train, *others), group) in enumerate(groups):
        ends = i + 1 == len(groups) or groups[i + 1][0][1:4] != (distortion, sigma, n_train)
        names = ESTIMATES if method == "mh" else ("chosen",)
        for name in names:
            interval = over_chips(group, f"test_{name}_accuracy")
            table.add_row(
                f"mh {name}" if method == "mh" else method,
                distortion,
                f"{sigma:g}",
                str(n_train),
                *map(str, others),
                str(interval.n),
                "failed" if interval.n == 0 else f"{interval.mean:.3f}",
                _half_width(interval),
                end_section=ends and name == names[-1],
            )
    return table


def _half_width(interval: Interval) -> str:
    return "-" if math.isnan(interval.low) else f"{interval.high - interval.mean:.3f}"
