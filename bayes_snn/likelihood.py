"""The readout: what is made of spike counts, class probabilities and the log-likelihood of labels.

    p(y = k | x, W) = exp(beta c_k + b_k) / sum_j exp(beta c_j + b_j),     log L(D | W) = sum_i m_i log p(y_i | x_i, W)

c spike counts of the output neurons; beta > 0 the weight of a spike and b a bias of each class: 0.5 and 0 unless the
model says otherwise, this project's own choice. m_i >= 0 says how often a sample counts, once where nothing is said:
with other numbers it is a weighted likelihood, and what is drawn is no posterior of the samples as they came but of so
many of them. Every term is <= 0. In numbers, for all that has drawn weights or draws
them by sweeps of its own; `bayes_snn.posterior.readout` has the same as a PyTensor expression.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bayes_snn.errors import InputError

BETA = 0.5  # per spike
MOST_BETA = 1e6

Floats = NDArray[np.floating[Any]]
Counts = NDArray[np.integer[Any]]


def check_beta(beta: object) -> float:
    """The weight of a spike, or an `InputError`."""
    number = isinstance(beta, numbers.Real) and not isinstance(beta, bool)
    if not number or not 0 < float(beta) <= MOST_BETA:  # type: ignore[arg-type]
        raise InputError(f"beta was {beta!r:.60}, but a number above 0 is expected: try {BETA:g}.")
    return float(beta)  # type: ignore[arg-type]


def class_probabilities(counts: Counts, beta: float = BETA, bias: Floats | float = 0.0) -> NDArray[np.float64]:
    """softmax(beta c + b): counts (..., n_classes) -> probabilities of the same shape, each row summing to 1."""
    scores = beta * np.asarray(counts, np.float64) + bias
    scores -= scores.max(axis=-1, keepdims=True)
    probabilities = np.exp(scores)
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    return probabilities


@njit(cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)  # for kernels alone
def log_p(counts, label, beta, bias):  # type: ignore[no-untyped-def]
    """log softmax(beta c + b) at the label of one sample, never above 0: counts and bias (n_classes,)."""
    largest = np.int64(counts[0])
    for k in range(1, counts.shape[0]):
        largest = max(largest, np.int64(counts[k]))
    # differences of counts are exact, and the largest score becomes 0
    top = beta * (np.int64(counts[0]) - largest) + bias[0]
    for k in range(1, counts.shape[0]):
        top = max(top, beta * (np.int64(counts[k]) - largest) + bias[k])
    total = 0.0
    for k in range(counts.shape[0]):
        total += np.exp((beta * (np.int64(counts[k]) - largest) + bias[k]) - top)
    return ((beta * (np.int64(counts[label]) - largest) + bias[label]) - top) - np.log(total)


@njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)
def _terms(counts, labels, beta, bias, terms):  # type: ignore[no-untyped-def]
    for i in range(counts.shape[0]):
        terms[i] = log_p(counts[i], labels[i], beta, bias)


@njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)
def total_log_p(counts, labels, weights, beta, bias):  # type: ignore[no-untyped-def]
    """log L, the sum of weighted terms: counts (n_samples, n_classes) and labels int64, weights and bias float64."""
    total = 0.0
    for i in range(counts.shape[0]):
        total += weights[i] * log_p(counts[i], labels[i], beta, bias)
    return total


def log_likelihood(
    counts: Counts, labels: Counts, beta: float = BETA, bias: Floats | float = 0.0
) -> NDArray[np.float64]:
    """log p of each sample's label: counts (n_samples, n_classes), labels (n_samples,) -> (n_samples,)."""
    whole = np.array(counts, np.int64, order="C")  # one kind of array: the kernel is compiled once
    terms = np.empty(len(whole))
    _terms(whole, np.array(labels, np.int64), float(beta), np.zeros(whole.shape[1]) + bias, terms)
    return terms


def draw_labels(probabilities: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """A label (n_samples,) for each row of class probabilities (n_samples, n_classes)."""
    beyond = rng.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)[:, :-1]
    return np.asarray(beyond.sum(axis=1), np.int64)


def log_mean(runs: Sequence[Floats] | Floats) -> NDArray[np.float64]:
    """Log of the mean of the exponentials of runs (n_runs, ...): log p of each sample, averaged as probabilities.

    One run comes back as it is, bit for bit.
    """
    stacked = np.asarray(runs, np.float64)
    if len(stacked) == 1:
        return np.asarray(stacked[0])
    largest = stacked.max(axis=0)
    return np.asarray(largest + np.log(np.exp(stacked - largest).mean(axis=0)))


@dataclass(frozen=True, eq=False)
class WeightedLabels:
    """Labels (n_samples,), and how often each sample counts, (n_samples,) float64 >= 0; a part of it by an index."""

    labels: NDArray[np.int64]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, part: Any) -> WeightedLabels:
        return WeightedLabels(self.labels[part], self.weights[part])


Target = NDArray[np.int64] | WeightedLabels  # what chips are trained towards


def with_weights(labels: NDArray[np.int64], weights: Floats | None) -> Target:
    """Labels as they are where every sample counts once, else with their weights."""
    return labels if weights is None else WeightedLabels(labels, np.asarray(weights, np.float64))


def without_weights(target: Target) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels, and how often each sample counts, ones where nothing is said; writable copies, (n_samples,) both."""
    if isinstance(target, WeightedLabels):
        return np.array(target.labels), np.array(target.weights)
    return np.array(target), np.ones(len(target))


@dataclass(frozen=True, eq=False)
class Readout:
    """One readout in numbers: `beta`, the weight of a spike, and `bias`, (n_classes,) or one number for all."""

    beta: float = BETA
    bias: Floats | float = 0.0

    def probabilities(self, counts: Counts) -> NDArray[np.float64]:
        """Class probabilities of spike counts (..., n_classes)."""
        return class_probabilities(counts, self.beta, self.bias)

    def log_p(self, runs: Sequence[Counts] | Counts, labels: Counts | WeightedLabels) -> NDArray[np.float64]:
        """log p of each label, (n_samples,): counts (n_runs, n_samples, n_classes), averaged as probabilities.

        Of labels with weights, these times log p: the terms of log L.
        """
        if isinstance(labels, WeightedLabels):
            return np.asarray(labels.weights * self.log_p(runs, labels.labels))
        return log_mean([log_likelihood(counts, labels, self.beta, self.bias) for counts in runs])

    def biases(self, n_classes: int) -> NDArray[np.float64]:
        """The bias of each class, (n_classes,)."""
        return np.zeros(n_classes) + self.bias


PLAIN = Readout()


def check_readout(beta: object, bias: object, n_classes: int) -> Readout:
    """A readout of numbers, no biases for None, or an `InputError`."""
    if bias is None:
        return Readout(check_beta(beta))
    try:
        values = np.array(bias, np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (n_classes,) or not np.isfinite(values).all():
        raise InputError(
            f"bias was {bias!r:.60}, but {n_classes} finite numbers are expected, one for each class: leave it out for "
            "none."
        )
    return Readout(check_beta(beta), values)
