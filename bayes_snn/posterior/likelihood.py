"""Spike counts -> class probabilities and log-likelihood.

    p(y = k | x, W) = exp(beta c_k) / sum_j exp(beta c_j),     log L(D | W) = sum_i log p(y_i | x_i, W)

c spike counts of the output neurons; beta = 0.5 per spike, this project's own choice. Every term is <= 0.
"""

from __future__ import annotations

import numbers

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bayes_snn.chips.contract import IntArray
from bayes_snn.errors import InputError

BETA = 0.5  # per spike
MOST_BETA = 1e6


def check_beta(beta: object) -> float:
    """The weight of a spike, or an `InputError`."""
    number = isinstance(beta, numbers.Real) and not isinstance(beta, bool)
    if not number or not 0 < float(beta) <= MOST_BETA:  # type: ignore[arg-type]
        raise InputError(f"beta was {beta!r:.60}, but a number above 0 is expected: try {BETA:g}.")
    return float(beta)  # type: ignore[arg-type]


def class_probabilities(counts: IntArray, beta: float = BETA) -> NDArray[np.float64]:
    """softmax(beta c): spike counts (..., n_classes) -> probabilities of the same shape, each row summing to 1."""
    scores = beta * np.asarray(counts, np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    probabilities = np.exp(scores)
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    return probabilities


@njit(cache=True, nogil=True, error_model="numpy")
def log_likelihood(counts, labels, beta):  # type: ignore[no-untyped-def]
    """log p of each sample's label: counts (n_samples, n_classes) int, labels (n_samples,) int -> (n_samples,)."""
    n_samples, n_classes = counts.shape
    terms = np.empty(n_samples)
    for i in range(n_samples):
        largest = counts[i, 0]
        for k in range(1, n_classes):
            largest = max(largest, counts[i, k])
        total = 0.0
        for k in range(n_classes):
            total += np.exp(beta * (counts[i, k] - largest))
        terms[i] = beta * (counts[i, labels[i]] - largest) - np.log(total)
    return terms
