"""Means and differences over chips, against values worked out by hand or known otherwise."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayes_snn.errors import InputError
from bayes_snn.studies.over_chips import by_chip, difference_over_chips, mean_interval, over_chips


def test_a_known_interval() -> None:
    # mean 3, standard deviation sqrt(2.5), t of 4 degrees of freedom at 95% is 2.1318 (any table)
    interval = mean_interval([1, 2, 3, 4, 5])
    half = 2.131847 * math.sqrt(2.5 / 5)
    assert interval.n == 5
    assert [interval.mean, interval.low, interval.high] == pytest.approx([3, 3 - half, 3 + half], rel=1e-6)
    wider = mean_interval([1, 2, 3, 4, 5], 0.95)
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert [wider.low, wider.high] == pytest.approx([3 - half, 3 + half], rel=1e-6)


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = [(i := mean_interval(rng.normal(size=6))).low <= 0 <= i.high for _ in range(4000)]
    # 5 standard errors
    assert np.mean(covered) == pytest.approx(0.9, abs=5 * math.sqrt(0.09 / 4000))


def test_few_values() -> None:
    assert mean_interval([]).n == 0
    assert math.isnan(mean_interval([]).mean)
    one = mean_interval([0.5, math.nan])
    assert (one.mean, one.n) == (0.5, 1)
    assert math.isnan(one.low)
    same = mean_interval([0.5, 0.5])
    assert (same.low, same.mean, same.high) == (0.5, 0.5, 0.5)
    with pytest.raises(InputError, match="level"):
        mean_interval([1, 2], 90)


def test_splits_are_averaged_within_a_chip_first() -> None:
    rows = pd.DataFrame({"chip_seed": [0, 0, 0, 1, 2], "x": [0.0, 1.0, 2.0, 4.0, math.nan]})
    assert by_chip(rows, "x").to_dict() == {0: 1.0, 1: 4.0}
    assert (over_chips(rows, "x").mean, over_chips(rows, "x").n) == (2.5, 2)


def test_a_difference_is_paired() -> None:
    first = pd.Series({0: 0.9, 1: 0.8, 2: 0.7, 5: 1.0})
    second = pd.Series({2: 0.5, 1: 0.5, 0: 0.5, 9: 0.0})
    interval = difference_over_chips(first, second)
    known = stats.ttest_rel([0.9, 0.8, 0.7], [0.5, 0.5, 0.5]).confidence_interval(0.9)
    assert interval.n == 3
    assert [interval.low, interval.high] == pytest.approx([known.low, known.high])
    assert interval.mean == pytest.approx(0.3)
