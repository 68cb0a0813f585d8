"""Means and differences over chips, with intervals: a chip is the unit, for chips are what differs.

Test samples and splits are averaged within each chip first. Intervals are Student's t over the chips' values: they say
how well the mean over all such chips is known, not how far single chips lie from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bayes_snn.estimates.metrics import LEVEL, check_level


@dataclass(frozen=True)
class Interval:
    """A mean over `n` chips, and the interval it lies in; NaN ends for fewer than two chips."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_interval(values: Sequence[float] | pd.Series, level: float = LEVEL) -> Interval:
    """Mean of the values and its Student t interval; missing values are left out."""
    check_level(level)
    array = np.asarray(values, dtype=np.float64)
    array = array[~np.isnan(array)]
    n = len(array)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(array.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * array.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def by_chip(rows: pd.DataFrame, column: str) -> pd.Series:
    """The column's mean in each chip, indexed by chip seed; rows without a value are left out."""
    return rows.dropna(subset=[column]).groupby("chip_seed")[column].mean()


def over_chips(rows: pd.DataFrame, column: str, level: float = LEVEL) -> Interval:
    """Mean over chips of a column."""
    return mean_interval(by_chip(rows, column), level)


def difference_over_chips(first: pd.Series, second: pd.Series, level: float = LEVEL) -> Interval:
    """Mean over chips of first minus second, paired: each chip with itself; chips in one of them only are left out."""
    return mean_interval((first - second).dropna(), level)
