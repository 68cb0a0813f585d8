"""Where the uncertainty of a prediction comes from, and what is gained by abstaining where it is large.

The ensemble averages class probabilities over posterior draws W_k of the weights, p(y | x) = mean_k p(y | x, W_k); what
the draws say one by one tells more than their mean. Every function takes a `FitResult` and shows the inputs to the chip
once for each of at most `size` draws. To ask several questions of one set of runs, take `draw_probabilities` once and
the functions of probabilities: `entropy_parts` and `abstain_points`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import entr

from bayes_snn.chips.contract import FloatArray, IntArray, check_inputs, check_labels
from bayes_snn.errors import InputError, unknown_name
from bayes_snn.estimates.metrics import LEVEL, TIE_TOLERANCE, accuracy_interval, check_probabilities, credit
from bayes_snn.estimates.predict import ENSEMBLE_SIZE, run_draws
from bayes_snn.inference.result import FitResult

CERTAINTIES = ("entropy", "confidence", "mutual_information")


@dataclass(frozen=True, eq=False)
class EntropyParts:
    """Entropy of the predictive distribution and its two parts, in nats, (n_samples,) each; total is their sum.

    Attributes
    ----------
    total
        Entropy of the ensemble's probabilities, from 0 to log(n_classes).
    expected
        Mean entropy of the draws' own probabilities, the aleatoric part: what stays if the weights were known.
    mutual_information
        Of label and weights, the epistemic part: how much the draws disagree (BALD, Houlsby et al. 2011). On a noisy
        chip each draw is run `repeats` times, as in the fit, and what noise is left in the mean counts as disagreement.
    """

    total: NDArray[np.float64]
    expected: NDArray[np.float64]
    mutual_information: NDArray[np.float64]

    def table(self) -> pd.DataFrame:
        """A row for each sample."""
        return pd.DataFrame(vars(self)).rename_axis("sample")


@dataclass(frozen=True, eq=False)
class AbstainCurve:
    """Accuracy on the samples decided, the least uncertain ones, as more of them are decided; (n_points,) each.

    Samples of equal uncertainty are decided together, so there may be fewer points than samples. Ends of the intervals
    hold point by point, not for the curve as a whole.

    Attributes
    ----------
    share
        Fraction of samples decided, rising to 1.
    threshold
        Decide where the uncertainty is at most this.
    accuracy, low, high
        Accuracy on the samples decided, ties credited as in `metrics.accuracy`, and its Wilson interval.
    """

    share: NDArray[np.float64]
    threshold: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Mean accuracy over all shares; the overall accuracy, `accuracy[-1]`, if abstaining tells nothing.

        One minus it is the area under the risk-coverage curve of Geifman and El-Yaniv 2017.
        """
        return float(np.average(self.accuracy, weights=np.diff(self.share, prepend=0.0)))

    def table(self) -> pd.DataFrame:
        """A row for each point."""
        return pd.DataFrame(vars(self))


def draw_probabilities(result: FitResult, inputs: FloatArray, size: int = ENSEMBLE_SIZE) -> NDArray[np.float64]:
    """Class probabilities (n_draws, n_samples, n_classes) of at most `size` draws; their mean is the ensemble's."""
    checked = check_inputs(inputs, result.chip.spec.layers[0])
    return run_draws(result.asked, result.draws, result.draws.spread(size), checked, result.repeats)


def predictive_entropy(result: FitResult, inputs: FloatArray, size: int = ENSEMBLE_SIZE) -> EntropyParts:
    """How uncertain each prediction is, and whether the data or the weights leave it so.

    Parameters
    ----------
    inputs
        (n_samples, n_in), standardised as the training inputs were.
    size
        Draws at most, a run each.
    """
    return entropy_parts(draw_probabilities(result, inputs, size))


def entropy_parts(probabilities: FloatArray) -> EntropyParts:
    """The same from class probabilities (n_draws, n_samples, n_classes), as `draw_probabilities` returns them."""
    values = _check_draws(probabilities)
    total = entr(values.mean(axis=0)).sum(axis=1)
    # entropy is concave, so only rounding can make the expected one larger
    expected = np.minimum(entr(values).sum(axis=2).mean(axis=0), total)
    return EntropyParts(total, expected, total - expected)


def abstain_curve(
    result: FitResult,
    inputs: FloatArray,
    labels: IntArray,
    by: str = "entropy",
    size: int = ENSEMBLE_SIZE,
    level: float = LEVEL,
) -> AbstainCurve:
    """Accuracy against the share of samples decided, when the chip may abstain from the most uncertain.

    Parameters
    ----------
    inputs, labels
        (n_samples, n_in) and (n_samples,) that the chip was not trained on.
    by
        The uncertainty: "entropy" (total), "mutual_information" (epistemic), or "confidence" (1 - the largest
        probability). The first and the last give one order if there are two classes.
    level
        Coverage of the intervals.
    """
    return abstain_points(draw_probabilities(result, inputs, size), labels, by, level)


def abstain_points(
    probabilities: FloatArray, labels: IntArray, by: str = "entropy", level: float = LEVEL
) -> AbstainCurve:
    """The same from class probabilities (n_draws, n_samples, n_classes), as `draw_probabilities` returns them."""
    if by not in CERTAINTIES:
        raise unknown_name("measure of uncertainty", by, CERTAINTIES)
    values = _check_draws(probabilities)
    ensemble = values.mean(axis=0)
    right = credit(ensemble, check_labels(labels, *ensemble.shape))
    parts = entropy_parts(values)
    uncertainty = {
        "entropy": parts.total,
        "mutual_information": parts.mutual_information,
        "confidence": 1 - ensemble.max(axis=1),
    }[by]
    order = np.argsort(uncertainty, kind="stable")
    steps = np.diff(uncertainty[order], append=np.inf) > TIE_TOLERANCE  # rounding must not part equal samples
    decided = np.flatnonzero(steps) + 1
    accuracies = (np.cumsum(right[order])[decided - 1] / decided).clip(max=1.0)
    ends = [accuracy_interval(float(a), int(n), level) for a, n in zip(accuracies, decided, strict=True)]
    low, high = np.array(ends).T
    return AbstainCurve(decided / len(order), uncertainty[order][decided - 1], accuracies, low, high)


def _check_draws(probabilities: FloatArray) -> NDArray[np.float64]:
    """Probabilities as float64 (n_draws, n_samples, n_classes), or an `InputError`."""
    if np.ndim(probabilities) != 3 or 0 in np.shape(probabilities):
        raise InputError(
            f"The probabilities have shape {np.shape(probabilities)}, but (n_draws, n_samples, n_classes), none "
            "of them 0, is expected: pass what draw_probabilities returns."
        )
    values = np.asarray(probabilities)
    return check_probabilities(values.reshape(-1, values.shape[2])).reshape(values.shape)
