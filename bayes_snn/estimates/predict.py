"""What a fitted posterior predicts, through the chip: four estimates that are reported always, and two more.

mean       the posterior mean of the weights, programmed once (the source paper's W*), and that of the readout
map        the draw of highest posterior density
medoid     the draw whose class probabilities on the training inputs are nearest to the ensemble's
ensemble   the posterior predictive: class probabilities averaged over draws
stacked    the ensemble with a weight for each chain, where chains have not mixed (inference/stacking.py)
distilled  one set of weights trained to answer as the ensemble does, where that was asked for (see distil.py)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import Chip, FloatArray, ask_counts, frozen
from bayes_snn.errors import check_whole, unknown_name
from bayes_snn.likelihood import BETA, PLAIN, Readout
from bayes_snn.waiting import tracked

ESTIMATES = ("mean", "map", "medoid", "ensemble")
DEPLOYABLE = ESTIMATES[:-1]  # one set of weights, programmed once
STACKED, DISTILLED = "stacked", "distilled"
ALL_ESTIMATES = (*ESTIMATES, STACKED, DISTILLED)
OF_MANY = ("ensemble", STACKED)  # many sets of weights, programmed one after the other
DISTIL_INPUTS, DISTIL_SWEEPS = 2000, 60  # inputs that the ensemble is asked about, and sweeps to learn its answers
ENSEMBLE_SIZE = 200  # draws of an ensemble at most: what a chip must be programmed with to predict once

Weights = list[NDArray[np.float64]]


@dataclass(frozen=True)
class Draws:
    """Posterior draws of the weights, chains one after the other.

    `weights` holds one (n_draws, n_pre, n_post) array for each layer; `logp` is the log posterior density of each
    draw, (n_draws,), up to a constant. `beta` and `bias` are the readout that they are drawn with: of each draw,
    (n_draws,) and (n_draws, n_classes), or one number for all.
    """

    weights: Sequence[NDArray[np.float64]]
    logp: NDArray[np.float64]
    beta: NDArray[np.float64] | float = BETA
    bias: NDArray[np.float64] | float = 0.0

    def __len__(self) -> int:
        return len(self.logp)

    def __getitem__(self, draw: int) -> Weights:
        return [np.asarray(layer[draw]) for layer in self.weights]

    def readout(self, draw: int) -> Readout:
        """The readout of a draw."""
        beta, bias = (np.asarray(part) for part in (self.beta, self.bias))
        return Readout(float(beta[draw] if beta.ndim else beta), bias[draw] if bias.ndim else float(bias))

    def mean(self) -> Weights:
        """Posterior mean of each weight."""
        return [layer.mean(axis=0) for layer in self.weights]

    def mean_readout(self) -> Readout:
        """Posterior mean of the readout."""
        bias = np.asarray(self.bias)
        return Readout(float(np.mean(self.beta)), bias.mean(axis=0) if bias.ndim else float(bias))

    def spread(self, size: int) -> NDArray[np.int64]:
        """Numbers of at most `size` draws, evenly spaced over all chains."""
        check_whole("The ensemble's size", size, 1, None, 200)
        return np.unique(np.linspace(0, len(self) - 1, min(size, len(self))).round().astype(np.int64))


def run_draws(
    chip: Chip, draws: Draws, chosen: Sequence[int] | NDArray[np.int64], inputs: FloatArray, repeats: int = 1
) -> NDArray[np.float64]:
    """Class probabilities (n_chosen, n_samples, n_classes) of some draws: `repeats` passes of the inputs for each."""
    shown = frozen(inputs)  # a chip may then prepare them once
    each = [
        probabilities(chip, draws[int(n)], shown, repeats, draws.readout(int(n)))
        for n in tracked(list(chosen), "Running the draws")
    ]
    return np.stack(each)


def probabilities(
    chip: Chip, weights: Sequence[FloatArray], inputs: FloatArray, repeats: int = 1, readout: Readout = PLAIN
) -> NDArray[np.float64]:
    """Class probabilities (n_samples, n_classes) of one set of weights, averaged over repeated runs of a noisy chip.

    `readout` is that of the likelihood that the weights were trained with.
    """
    total, inputs = np.zeros((len(inputs), chip.spec.layers[-1])), frozen(inputs)
    for _ in range(repeats):
        total += readout.probabilities(ask_counts(chip, weights, inputs))
    return total / repeats


def best_draw(draws: Draws) -> int:
    """The draw of highest posterior density."""
    return int(np.nanargmax(draws.logp))


def medoid_draw(chip: Chip, draws: Draws, train_inputs: FloatArray, size: int = ENSEMBLE_SIZE, repeats: int = 1) -> int:
    """The draw, of `size` evenly spaced ones, nearest to the ensemble on the training inputs.

    Distance is the mean absolute difference of class probabilities; labels play no part.
    """
    chosen = draws.spread(size)
    each = run_draws(chip, draws, chosen, train_inputs, repeats)
    distance = np.abs(each - each.mean(axis=0)).mean(axis=(1, 2))
    return int(chosen[np.argmin(distance)])


def choose_deployable(log_scores: Mapping[str, float]) -> str:
    """Of estimates that are one set of weights, the one with the best log score on the training samples.

    A choice by test samples would flatter what is chosen.
    """
    return max(log_scores, key=log_scores.__getitem__)


def check_estimate(estimate: str) -> str:
    """The name of an estimate, or an `InputError` that lists them."""
    if estimate not in ALL_ESTIMATES:
        raise unknown_name("estimate", estimate, ALL_ESTIMATES)
    return estimate
