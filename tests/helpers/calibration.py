"""Simulation-based calibration of a sampler on a small chip of two classes (Talts et al., arXiv 1804.06788).

Weights are drawn from the prior Normal(0, 1), and labels from the chip's own class probabilities. Given the labels, the
true weights and a sampler's draws are then alike, and the rank of the one among the others is uniform.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bayes_snn.likelihood import PLAIN, class_probabilities

Matrices = Sequence[NDArray[np.float64]]


def ranks_of_truths(
    chip,
    inputs: NDArray[np.float64],
    draw: Callable[[Matrices, NDArray[np.int64], np.random.Generator], Sequence[Matrices]],
    n_replicates: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Ranks (n_replicates, n_quantities) of the truth among draws: of each weight, log L, and a new input's prediction.

    `draw` gives draws of the weights from the truth and labels (n_samples,): all but independent ones; or those of a
    reversible chain at both sides of the truth, which has a random place among them, whose ranks are uniform however
    slow the chain is (Gandy and Scott, arXiv 2001.06465). Where counts are alike, ranks are drawn among those that a
    tie leaves.
    """
    new = np.concatenate([inputs, 1.5 * inputs[:1] - inputs[1:2]])

    def quantities(weights: Matrices, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        counts = chip.run(weights, new)
        log_l = PLAIN.log_p([counts[:-1]], labels).sum().round(9)
        prediction = class_probabilities(counts[-1])[0]
        return np.concatenate([*(np.ravel(matrix) for matrix in weights), [log_l, prediction]])

    found = []
    for _ in range(n_replicates):
        truth = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
        p = class_probabilities(chip.run(truth, inputs))
        labels = (rng.random(len(inputs)) > p[:, 0]).astype(np.int64)
        true = quantities(truth, labels)
        drawn = np.array([quantities(weights, labels) for weights in draw(truth, labels, rng.spawn(1)[0])])
        ties = (drawn == true).sum(axis=0)
        found.append((drawn < true).sum(axis=0) + rng.integers(0, ties + 1))
    return np.array(found)


def p_of_uniform(ranks: NDArray[np.int64], n_draws: int) -> float:
    """Of the least uniform quantity by its chi-squared statistic, times their number (Bonferroni's rule)."""
    counts = np.stack([np.bincount(each, minlength=n_draws + 1) for each in ranks.T])
    return float(min(1.0, counts.shape[0] * stats.chisquare(counts, axis=1).pvalue.min()))
