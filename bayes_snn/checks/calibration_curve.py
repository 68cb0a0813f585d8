"""Are a fit's probabilities calibrated? With intervals, for test samples are few and no error is ever 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_snn.chips.contract import FloatArray, IntArray
from bayes_snn.errors import check_whole
from bayes_snn.estimates.metrics import LEVEL, accuracy_interval, calibration_error, reliability
from bayes_snn.inference.result import FitResult


@dataclass(frozen=True, eq=False)
class Calibration:
    """Confidence against accuracy in bins of confidence, and whether the gap is more than chance.

    Attributes
    ----------
    edges
        (n_bins + 1,) from 0 to 1.
    confidence, accuracy, count
        (n_bins,) as in `metrics.Reliability`.
    low, high
        (n_bins,) Wilson interval of each bin's accuracy; NaN where it is empty.
    error
        Expected calibration error.
    error_by_chance
        Lowest and highest error that calibrated probabilities would show in so few samples: never 0 (consistency
        resampling, Broecker and Smith 2007).
    """

    edges: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    count: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    error: float
    error_by_chance: tuple[float, float]

    def table(self) -> pd.DataFrame:
        """A row for each bin."""
        columns = ("confidence", "accuracy", "low", "high", "count")
        bins = {"from": self.edges[:-1], "to": self.edges[1:]}
        return pd.DataFrame(bins | {name: getattr(self, name) for name in columns})


def calibration(
    result: FitResult,
    inputs: FloatArray,
    labels: IntArray,
    estimate: str = "ensemble",
    n_bins: int = 10,
    level: float = LEVEL,
    n_simulations: int = 500,
    seed: int = 0,
) -> Calibration:
    """Does a confidence of 80% mean right in 80 of 100 cases? With intervals, for test samples are few.

    Parameters
    ----------
    inputs, labels
        (n_samples, n_in) and (n_samples,) that the chip was not trained on.
    estimate
        "ensemble", "mean", "map", "medoid" or "distilled".
    n_simulations, seed
        Sets of labels drawn from the probabilities themselves, for `error_by_chance`.
    """
    check_whole("n_simulations", n_simulations, 1, None, 500)
    probabilities = result.predict(inputs, estimate)
    bins = reliability(probabilities, labels, n_bins)
    ends = np.full((2, n_bins), np.nan)
    for b in np.flatnonzero(bins.count):
        ends[:, b] = accuracy_interval(min(float(bins.accuracy[b]), 1.0), int(bins.count[b]), level)
    rng = np.random.default_rng(seed)
    below = probabilities.cumsum(axis=1)[:, :-1]
    errors = [
        calibration_error(probabilities, (rng.random((len(below), 1)) > below).sum(axis=1), n_bins)
        for _ in range(n_simulations)
    ]
    by_chance = np.quantile(errors, [(1 - level) / 2, (1 + level) / 2])
    chance = (float(by_chance[0]), float(by_chance[1]))
    return Calibration(bins.edges, bins.confidence, bins.accuracy, bins.count, ends[0], ends[1], bins.error, chance)
