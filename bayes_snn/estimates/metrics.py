"""How good class probabilities are: accuracy, also class by class, log score, calibration error, Brier score and AUC.

`probabilities` is (n, K), one row of class probabilities per sample; `labels` is (n,), from 0 to K - 1. Every
function raises an `InputError` when they are not that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bayes_snn.arrays import as_floats
from bayes_snn.chips.contract import FloatArray, IntArray, check_labels
from bayes_snn.errors import InputError, check_whole

LEVEL = 0.9  # coverage of intervals
SUM_TOLERANCE = 1e-6  # of a row's sum: single precision passes, spike counts do not
TIE_TOLERANCE = 1e-12  # averaging draws leaves rounding errors of this size between equal probabilities


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence against accuracy, in bins of confidence; what a reliability diagram shows.

    Parameters
    ----------
    edges
        (n_bins + 1,) from 0 to 1; a bin holds its right edge, as in Guo et al. 2017.
    confidence, accuracy
        (n_bins,) mean of the largest probability, and accuracy, of the samples in each bin; NaN if empty.
    count
        (n_bins,) samples in each bin.
    """

    edges: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """|accuracy - confidence|, averaged over the samples by bin; see `calibration_error`."""
        gap = np.abs(self.accuracy - self.confidence)[self.count > 0]
        return float(np.average(gap, weights=self.count[self.count > 0]))


def accuracy(probabilities: FloatArray, labels: IntArray) -> float:
    """Fraction of samples whose most probable class is the label, from 0 to 1.

    Of m classes that tie for the most probable, each is credited 1/m: a dead chip, whose outputs are equal,
    scores chance, 1/K, whatever the order of the classes.
    """
    return float(credit(*_check(probabilities, labels)).mean())


def confusion_matrix(probabilities: FloatArray, labels: IntArray) -> NDArray[np.float64]:
    """Samples (K, K) by their class, in rows, and by the most probable class, in columns.

    A sample whose m most probable classes tie counts 1/m in each of their columns.
    """
    values, codes = _check(probabilities, labels)
    winners = _winners(values)
    found = np.zeros((values.shape[1], values.shape[1]))
    np.add.at(found, codes, winners / winners.sum(axis=1, keepdims=True))
    return found


def recall(probabilities: FloatArray, labels: IntArray) -> NDArray[np.float64]:
    """Accuracy among the samples of each class, (K,); NaN for a class without samples."""
    found = confusion_matrix(probabilities, labels)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.diag(found) / found.sum(axis=1))


def balanced_accuracy(probabilities: FloatArray, labels: IntArray) -> float:
    """Mean of the recall over the classes that have samples, from 0 to 1: chance is 1/K, however unequal they are."""
    return float(np.nanmean(recall(probabilities, labels)))


def auc(probabilities: FloatArray, labels: IntArray) -> float:
    """Area under the ROC curve, from 0 to 1, each class against the rest, averaged over classes; NaN for a single one.

    It is the probability that a sample of the class has a higher probability of it than one of the rest; ties count one
    half (Hanley and McNeil 1982).
    """
    values, codes = _check(probabilities, labels)
    areas = []
    for k in np.unique(codes):
        own = codes == k
        n_own, n_rest = int(own.sum()), int((~own).sum())
        if n_rest:
            below = rankdata(values[:, k])[own].sum() - n_own * (n_own + 1) / 2
            areas.append(below / (n_own * n_rest))
    return float(np.mean(areas)) if areas else math.nan


def log_score(probabilities: FloatArray, labels: IntArray) -> float:
    """Mean log predictive probability of the labels, in nats per sample: at most 0, -inf if a label had 0."""
    values, codes = _check(probabilities, labels)
    of_label = values[np.arange(len(codes)), codes].clip(max=1.0)  # a row's sum may exceed 1 a little
    with np.errstate(divide="ignore"):
        return float(np.log(of_label).mean())


def brier_score(probabilities: FloatArray, labels: IntArray) -> float:
    """Mean over the samples of the squared distance from the label's unit vector, 0 to 2 (Brier 1950)."""
    values, codes = _check(probabilities, labels)
    return float(((values - np.eye(values.shape[1])[codes]) ** 2).sum(axis=1).mean())


def reliability(probabilities: FloatArray, labels: IntArray, n_bins: int = 10) -> Reliability:
    """Confidence, accuracy and count in `n_bins` bins of equal width; ties are credited as in `accuracy`."""
    values, codes = _check(probabilities, labels)
    check_whole("n_bins", n_bins, 1, None, 10)
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    confidence = values.max(axis=1)
    bins = np.digitize(confidence, edges[1:-1], right=True)
    count = np.bincount(bins, minlength=n_bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of an empty bin
        mean_confidence, mean_credit = (
            np.bincount(bins, weights=value, minlength=n_bins) / count for value in (confidence, credit(values, codes))
        )
    return Reliability(edges, mean_confidence, mean_credit, count)


def calibration_error(probabilities: FloatArray, labels: IntArray, n_bins: int = 10) -> float:
    """Expected calibration error, from 0 to 1: |accuracy - confidence|, averaged over the samples by bin.

    Naeini et al. 2015 and Guo et al. 2017. It is biased upwards where bins hold few samples.
    """
    return reliability(probabilities, labels, n_bins).error


def evaluate(probabilities: FloatArray, labels: IntArray) -> dict[str, float]:
    """The scores by name: accuracy, log_score, calibration_error, brier_score, balanced_accuracy and auc."""
    scores = (accuracy, log_score, calibration_error, brier_score, balanced_accuracy, auc)
    return {score.__name__: score(probabilities, labels) for score in scores}


def accuracy_interval(accuracy: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson score interval (Wilson 1927) of the true accuracy, from the accuracy in `n` independent samples.

    Parameters
    ----------
    accuracy
        Fraction from 0 to 1, not the number of correct samples.
    n
        Number of samples, at least 1.
    level
        Nominal coverage, between 0 and 1.

    Returns
    -------
    Lowest and highest accuracy, within 0 and 1. How the chip itself varies is not in it.
    """
    if not 0 <= accuracy <= 1:
        raise InputError(
            f"The accuracy was {accuracy!r}, but a fraction from 0 to 1 is expected: divide the number of "
            "correct samples by n."
        )
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"n was {n!r}, but a positive number of samples is expected: pass len(labels).")
    check_level(level)
    z = -NormalDist().inv_cdf((1 - level) / 2)
    centre = accuracy + z**2 / (2 * n)
    half_width = z * math.sqrt(accuracy * (1 - accuracy) / n + (z / (2 * n)) ** 2)
    low, high = ((centre + side * half_width) / (1 + z**2 / n) for side in (-1, 1))
    # the interval holds the accuracy and stays within 0 and 1, but for rounding
    return float(max(0.0, min(low, accuracy))), float(min(1.0, max(high, accuracy)))


def check_level(level: float) -> None:
    """Raise an `InputError` unless an interval can have this coverage."""
    if not 0 < level < 1:
        raise InputError(f"The level was {level!r}, but a number between 0 and 1 is expected: try 0.9.")


def check_probabilities(probabilities: object) -> NDArray[np.float64]:
    """Probabilities as float64 (n, K), or an `InputError`; rows sum to 1 within 1e-6, none is negative."""
    values = as_floats("The probabilities", probabilities, "pass what predict returns")
    if values.ndim != 2 or values.size == 0:
        raise InputError(
            f"The probabilities have shape {values.shape}, but (n_samples, n_classes), neither of them 0, "
            "is expected: pass one row of class probabilities per sample."
        )
    if not (values >= 0).all():  # NaN among them
        row, column = np.argwhere(~(values >= 0))[0]
        raise InputError(
            f"The probability of sample {row}, class {column} is {values[row, column]}, but none may be "
            "negative or NaN: check what computes them."
        )
    sums = values.sum(axis=1)
    if not (np.abs(sums - 1) <= SUM_TOLERANCE).all():
        row = int(np.argmax(np.abs(sums - 1)))
        raise InputError(
            f"The probabilities of sample {row} sum to {sums[row]:.9g}, but each row must sum to 1: pass "
            "probabilities, not spike counts or logits."
        )
    return values


def _check(probabilities: FloatArray, labels: IntArray) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values = check_probabilities(probabilities)
    return values, check_labels(labels, *values.shape)


def credit(values: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) 1/m where the label is among the m most probable classes, else 0."""
    winners = _winners(values)
    return winners[np.arange(len(codes)), codes] / winners.sum(axis=1)


def _winners(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n, K) whether a class is among the most probable ones of a sample."""
    return np.asarray(values >= values.max(axis=1, keepdims=True) - TIE_TOLERANCE)
